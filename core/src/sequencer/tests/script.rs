//! Transcripts as text: lines that start with `>` are done, the indented ones below are what came
//! of it, `#` tells the story.
//!
//! ```text
//! > open s1                 a server begins a session and reaches every node, or those named
//! > append s1 3             three more records
//! > confirm s1 7            a quorum round begins
//! > read s1 0..4            committed records are wanted
//! > cut s1 n2 / link s1 n2  a connection is lost with all that was on it / made anew
//! > reset s1 n2             a connection is lost, and its requests may still arrive
//! > stop s1                 the session's server dies
//! > crash n2 / swap n2      power is lost / and the node comes back with its other disk
//! > old n2 / new n2         a node comes back with the first version of the protocol, or the newest;
//!                           sessions of its server (n1 has all of them) are over
//! > deliver s1 n2 1         one message on its way to the other arrives; without a number all do
//! > late s1 n2 1            the same with requests of connections that were lost
//! > repeat s1 n2            the next request on its way will arrive twice
//! > sync n2 1               one entry that the node wrote becomes durable; or all
//! > fail read n2            the node's oldest read fails
//! > run n1 n2               messages and syncs at these nodes (or all) until nothing is left
//! > settle n1 n2            the same, and only what servers and operators hear is written down
//! > aim s1 n1 n3 n4         these should be the replicas (their present disks)
//! > trim s1 5               records up to here are wanted no more
//! > spare n4                a node that is no replica
//! > rot n2 3                a bit of a stored record flips
//! > full n2 / room n2       a node's disk has no room for records / has room again
//! > suspect n2 4            a crash, after which only four entries can be read
//! > recover s2 n1           an operator has a session begin with these nodes alone
//! > wait 100                milliseconds
//! > limit window 300        bytes; also keep and run, for sessions opened later
//! > show                    where everybody stands
//! ```

use std::fmt::Write;
use std::time::Duration;

use crate::explorer::sessions::{Cluster, Connection, Event, Loss};
use crate::id::{Mark, NodeId, ReplicaSet, SessionId, TransactionId};
use crate::planted::Planted;
use crate::sequencer::{Phase, Sequencer};
use crate::transcript::{short, summary_text};

/// Plays a transcript on a new cluster and compares what comes of it with what it says.
#[track_caller]
pub(super) fn check(transcript: &str) {
    let played = rewritten(transcript);
    if played != transcript {
        panic!("{}\nplayed:\n{played}", difference(transcript, &played));
    }
}

/// A transcript's story and commands, with what comes of them on a new cluster.
pub(super) fn rewritten(transcript: &str) -> String {
    let mut cluster = Cluster::new(3, Planted::NONE);
    let mut played = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(played, "{line}").unwrap();
        if let Some(command) = line.strip_prefix("> ") {
            for line in play(&mut cluster, command) {
                writeln!(played, "  {line}").unwrap();
            }
        }
    }
    played
}

fn difference(expected: &str, played: &str) -> String {
    let pairs = expected.lines().zip(played.lines());
    let same = pairs.take_while(|(expected, played)| expected == played).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(the end)").to_owned();
    format!("line {}\n- {}\n+ {}", same + 1, line(expected), line(played))
}

fn play(cluster: &mut Cluster, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["show"] => return show(cluster),
        ["open", session, ref nodes @ ..] => {
            cluster.open(epoch(session), NodeId(1));
            for node in named(cluster, nodes) {
                cluster.link(epoch(session), node);
            }
        }
        ["stop", session] => cluster.stop(epoch(session), Loss::Everything),
        ["append", session, count] => cluster.append(epoch(session), number(count)),
        ["confirm", session, round] => cluster.confirm(epoch(session), number(round)),
        ["read", session, ids] => {
            let (first, last) = ids.split_once("..").expect("a range");
            let to = Mark::at(TransactionId(number(last)));
            cluster.read(epoch(session), 1, TransactionId(number(first)), to);
        }
        ["cut", session, node] => {
            cluster.cut(epoch(session), node_of(node), Loss::Everything);
        }
        ["reset", session, node] => {
            cluster.cut(epoch(session), node_of(node), Loss::AnswersOnly);
        }
        ["link", session, node] => cluster.link(epoch(session), node_of(node)),
        ["crash", node] => cluster.crash(node_of(node)),
        [age @ ("old" | "new"), node] => cluster.roll(node_of(node), age == "old"),
        ["swap", node] => cluster.swap_disk(node_of(node)),
        ["deliver", from, to, ref count @ ..] => deliver(cluster, from, to, at_most(count)),
        ["late", session, node, ref count @ ..] => {
            late(cluster, epoch(session), node_of(node), at_most(count));
        }
        ["repeat", session, node] => cluster.repeat(epoch(session), node_of(node)),
        ["sync", node, ref count @ ..] => cluster.sync(node_of(node), at_most(count)),
        ["fail", "read", node] => cluster.fail_read(node_of(node)),
        ["aim", session, ref nodes @ ..] => {
            let members = nodes.iter().map(|node| cluster.nodes[&node_of(node)].member);
            let target = ReplicaSet(members.collect());
            cluster.aim(epoch(session), Some(target));
        }
        ["trim", session, id] => cluster.trim(epoch(session), Mark::at(TransactionId(number(id)))),
        ["spare", node] => cluster.add_spare(node_of(node)),
        ["rot", node, id] => cluster.rot(node_of(node), TransactionId(number(id))),
        [space @ ("full" | "room"), node] => cluster.fill(node_of(node), space == "full"),
        ["suspect", node, count] => cluster.suspect(node_of(node), number(count) as usize),
        ["recover", session, ref nodes @ ..] => {
            let survivors: Vec<_> = nodes.iter().map(|node| node_of(node)).collect();
            cluster.recover(epoch(session), &survivors);
        }
        ["wait", pause] => cluster.wait(Duration::from_millis(number(pause))),
        ["limit", what, bytes] => limit(cluster, what, number(bytes) as usize),
        ["run" | "settle", ref nodes @ ..] => {
            let nodes = named(cluster, nodes);
            assert!(cluster.settle(&nodes), "it never ends");
        }
        _ => panic!("no such command: {command}"),
    }
    let is_short = words[0] == "settle";
    let told = |event: &Event| matches!(event, Event::Said { .. } | Event::Reported { .. });
    let events = std::mem::take(&mut cluster.events).into_iter();
    events.filter(|event| !is_short || told(event)).map(|event| event.text()).collect()
}

/// Messages over the connection that the session has; over those it has lost if it has none.
fn deliver(cluster: &mut Cluster, from: &str, to: &str, count: usize) {
    let is_answer = from.starts_with('n');
    let (session, node) = if is_answer { (to, from) } else { (from, to) };
    let (epoch, node) = (epoch(session), node_of(node));
    let is_linked = cluster.is_linked(epoch, node);
    let is_it = |c: &Connection| (c.epoch, c.node, c.is_up) == (epoch, node, is_linked);
    for number in cluster.connections_of(is_it) {
        match is_answer {
            true => cluster.deliver_answers(number, count),
            false => cluster.deliver_requests(number, count),
        }
    }
}

fn late(cluster: &mut Cluster, epoch: u64, node: NodeId, count: usize) {
    let is_it = |c: &Connection| (c.epoch, c.node, c.is_up) == (epoch, node, false);
    for number in cluster.connections_of(is_it) {
        cluster.deliver_requests(number, count);
    }
}

/// A count that may be left out.
fn at_most(words: &[&str]) -> usize {
    words.first().map_or(usize::MAX, |word| number(word) as usize)
}

fn limit(cluster: &mut Cluster, what: &str, bytes: usize) {
    match what {
        "window" => cluster.config.window_bytes = bytes,
        "keep" => cluster.config.keep_bytes = bytes,
        "run" => cluster.config.run_bytes = bytes,
        _ => panic!("no such limit: {what}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("no number: {word}"))
}

fn epoch(word: &str) -> u64 {
    number(word.strip_prefix('s').expect("a session"))
}

fn node_of(word: &str) -> NodeId {
    NodeId(number(word.strip_prefix('n').expect("a node")) as u32)
}

/// The nodes named, or all.
fn named(cluster: &Cluster, words: &[&str]) -> Vec<NodeId> {
    match words {
        [] => cluster.nodes.keys().copied().collect(),
        words => words.iter().map(|word| node_of(word)).collect(),
    }
}

fn show(cluster: &Cluster) -> Vec<String> {
    let session = |session: Option<SessionId>| session.map_or("none".to_owned(), |s| short(&s));
    let nodes = cluster.nodes.iter().map(|(node, rig)| match rig.replica() {
        Some(replica) => format!(
            "{node}: promise {}, normal {}, log {}, low water {}",
            session(replica.promise()),
            session(replica.normal()),
            summary_text(replica.summary()),
            replica.low_water()
        ),
        None => format!("{node}: no replica"),
    });
    nodes.chain(cluster.sessions.values().map(session_text)).collect()
}

fn session_text(sequencer: &Sequencer) -> String {
    let phase = match &sequencer.phase {
        Phase::Opening { .. } => "opening".to_owned(),
        Phase::Chosen { log, source } => format!("chose {} of {source}", summary_text(log)),
        Phase::Open { .. } => format!("open, committed {}", sequencer.committed()),
        Phase::Over => "over".to_owned(),
    };
    let replicas = sequencer.replicas();
    let replicas = replicas.iter().map(|r| format!("{} {} at {}", r.node, r.state, r.last));
    let replicas = replicas.collect::<Vec<_>>().join(", ");
    format!("{}: {phase}; {replicas}", short(&sequencer.session()))
}
