//! Transcripts as text: lines that start with `>` are given to a storage node, the others are
//! what came of it.
//!
//! ```text
//! > s1 begins with 0..2 committed 1 opens, joins an empty log and appends, all of it durably;
//!                                   what comes of that is for the tests of sessions to say
//! > s2 append 4..6 committed 3      a request of session 2; the payload is made to fit
//! > sync 1                          one more entry (or all of them) becomes durable
//! > read                            the oldest read ends
//! > rot 5                           a bit of a stored record flips
//! > restart                         a crash
//! > lose 3                          a crash after which only so many entries can be told
//! > wake                            the time comes that the node asked for
//! > close                           the server's connection is lost
//! > s2 change v1 of s2 at 6 = n1 n2 n4
//! > s2 adopt trimmed to 4, s1@0 s2@5 to 7, v1 of s1 at 6 = n1 n2 n4
//! ```

use std::fmt::Write;

use bytes::Bytes;

use crate::id::{Mark, Position, ReplicaSet, SessionId, SetVersion, TransactionId};
use crate::log::{LogSummary, SetChange};
use crate::planted::Planted;
use crate::storage::StorageReply;
use crate::storage::testing::{Rig, append, caller, empty_log, member, open, run, session};
use crate::transcript::{answer_text, entry_text, short};
use crate::wire::{ReplicaAnswer, ReplicaRequest};

/// Plays a transcript's commands and compares what comes of them with what it says.
pub(super) fn check(transcript: &str) {
    check_planted(Planted::NONE, transcript);
}

pub(super) fn check_planted(planted: Planted, transcript: &str) {
    let lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected = lines.fold(String::new(), |text, line| text + line + "\n");
    let mut rig = Rig::of(member(1), planted);
    let mut played = String::new();
    for command in expected.lines().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(played, "> {command}").unwrap();
        if let Some((epoch, runs)) = command.split_once(" begins") {
            begin(&mut rig, epoch_of(epoch), runs);
            continue;
        }
        let written = rig.journal.len();
        let replies = play(&mut rig, command);
        for entry in rig.journal.iter().skip(written) {
            writeln!(played, "journal {}", entry_text(&entry.head)).unwrap();
        }
        for report in &rig.reports {
            writeln!(played, "report {:?}: {}", report.level, report.text).unwrap();
        }
        for reply in &replies {
            writeln!(played, "{}", reply_text(reply)).unwrap();
        }
    }
    assert_eq!(played, expected, "\nplayed:\n{played}");
}

/// A session begins with runs written as ` with 0..2 3..5 committed 4`, or with none.
fn begin(rig: &mut Rig, epoch: u64, runs: &str) {
    let (runs, committed) = match runs.strip_prefix(" with ") {
        Some(with) => with.split_once(" committed ").expect("what is committed"),
        None => (runs, "none"),
    };
    let (mut next, mut counts) = (0, Vec::new());
    for (first, count) in runs.split_whitespace().map(range) {
        assert_eq!(first, next, "runs follow each other");
        counts.push(count);
        next += count;
    }
    rig.begin(epoch, &counts, mark(committed));
}

fn play(rig: &mut Rig, command: &str) -> Vec<StorageReply> {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["sync"] => rig.sync_all(),
        ["sync", count] => rig.sync(number(count) as usize),
        ["read"] => rig.finish_read(),
        ["fail", "read"] => rig.fail_read("input/output error"),
        ["rot", id] => {
            rig.rot(number(id));
            Vec::new()
        }
        ["restart"] => {
            rig.restart();
            Vec::new()
        }
        ["lose", count] => {
            rig.restart_suspect(number(count) as usize);
            Vec::new()
        }
        ["wake"] => {
            rig.wake();
            Vec::new()
        }
        ["close"] => {
            rig.close(caller(1));
            Vec::new()
        }
        [epoch, ..] => {
            let epoch = epoch_of(epoch);
            let (request, payload) = request(epoch, &words[1..]);
            rig.ask(epoch, request, payload)
        }
        [] => panic!("no command"),
    }
}

fn request(epoch: u64, words: &[&str]) -> (ReplicaRequest, Bytes) {
    let request = match words {
        ["open"] => open(),
        ["adopt", chosen @ ..] => ReplicaRequest::Adopt { chosen: summary(&chosen.join(" ")) },
        ["copy", origin, ids] => {
            let (origin, first, count, payload) = records(origin, ids);
            return (ReplicaRequest::Copy { origin, first, count }, payload);
        }
        ["repair", origin, ids] => {
            let (origin, first, count, payload) = records(origin, ids);
            return (ReplicaRequest::Repair { origin, first, count }, payload);
        }
        ["join", at] => {
            ReplicaRequest::Join { at: Position { last: mark(at), version: SetVersion::FIRST } }
        }
        ["join", at, number] => {
            let number = number.trim_matches(['(', ')']);
            ReplicaRequest::Join { at: Position { last: mark(at), version: version(number) } }
        }
        ["change", rest @ ..] => ReplicaRequest::Change(change(rest)),
        ["trim", start] => ReplicaRequest::Trim { start: mark(start) },
        ["append", ids, "committed", committed] => {
            let (first, count) = range(ids);
            return (append(first, count, mark(committed)), run(epoch, first, count));
        }
        ["commit", committed] => ReplicaRequest::Commit { committed: mark(committed) },
        ["confirm", round] => ReplicaRequest::Confirm { round: number(round) },
        ["resume"] => ReplicaRequest::Resume,
        ["read", ids, "max", max_bytes] => {
            let (first, count) = range(ids);
            ReplicaRequest::Read {
                request: 9,
                first: TransactionId(first),
                to: Mark::before(TransactionId(first + count)),
                max_bytes: number(max_bytes) as u32,
            }
        }
        other => panic!("no such request: {other:?}"),
    };
    (request, Bytes::new())
}

/// The records of a session, as they are sent.
fn records(origin: &str, ids: &str) -> (SessionId, TransactionId, u32, Bytes) {
    let (epoch, (first, count)) = (epoch_of(origin), range(ids));
    (session(epoch), TransactionId(first), count as u32, run(epoch, first, count))
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("no number: {word}"))
}

fn mark(word: &str) -> Mark {
    if word == "none" { Mark::NONE } else { Mark::at(TransactionId(number(word))) }
}

/// First and count of `first..last`, both included.
fn range(word: &str) -> (u64, u64) {
    let (first, last) = word.split_once("..").expect("a range");
    (number(first), number(last) + 1 - number(first))
}

fn epoch_of(word: &str) -> u64 {
    number(word.trim_start_matches('s'))
}

fn version(word: &str) -> SetVersion {
    SetVersion(number(word.trim_start_matches('v')))
}

/// A change written as `v1 of s2 at 6 = n1 n2 n4`.
fn change(words: &[&str]) -> SetChange {
    let [number_of, "of", epoch, "at", at, "=", nodes @ ..] = words else {
        panic!("no change: {words:?}")
    };
    let node = |word: &&str| member(number(word.trim_start_matches('n')) as u32);
    SetChange {
        version: version(number_of),
        session: Some(session(epoch_of(epoch))),
        at: mark(at),
        replicas: ReplicaSet(nodes.iter().map(node).collect()),
    }
}

/// The log written as `trimmed to 4, s1@0 s2@5 to 7, v1 of s2 at 6 = n1 n2 n4`, or `nothing`.
fn summary(text: &str) -> LogSummary {
    let mut log = empty_log();
    let mut start = Mark::NONE;
    for part in text.split(", ") {
        let words: Vec<&str> = part.split(' ').collect();
        match &words[..] {
            ["trimmed", "to", last] => start = mark(last),
            [sessions @ .., "to", last] => {
                let named = |word: &&str| {
                    let (epoch, first) = word.split_once('@').expect("a session and its first id");
                    (session(epoch_of(epoch)), TransactionId(number(first)))
                };
                log.sessions = sessions.iter().map(named).collect();
                log.last = mark(last);
            }
            ["nothing"] => {}
            words => log.sets.push(change(words)),
        }
    }
    log.trim(start);
    log
}

fn reply_text(reply: &StorageReply) -> String {
    match &reply.message.answer {
        ReplicaAnswer::Opened { storage, .. } => assert_eq!(*storage, member(1).storage),
        ReplicaAnswer::Records { request, origin, first, count, .. } => {
            assert_eq!(*request, 9);
            let run = run(origin.epoch.0, first.0, u64::from(*count));
            assert_eq!(reply.payload, run, "records come back as they were written");
        }
        _ => {}
    }
    format!("-> {} {}", short(&reply.message.session), answer_text(&reply.message.answer))
}
