//! Transcripts as text: lines that start with `>` are given to a storage node, the others are
//! what came of it.
//!
//! ```text
//! > s2 append 4..6 committed 3      a request of session 2; the payload is made to fit
//! > sync 1                          one more entry (or all of them) becomes durable
//! > read                            the oldest read ends
//! > rot 5                           a bit of a stored record flips
//! > restart                         a crash
//! ```

use std::fmt::Write;

use bytes::Bytes;

use super::rig::{Rig, replicas, run, session};
use crate::id::{Mark, SessionId, TransactionId};
use crate::journal::EntryHead;
use crate::planted::Planted;
use crate::storage::StorageReply;
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest};

/// Plays a transcript's commands and compares what comes of them with what it says.
pub(super) fn check(transcript: &str) {
    check_planted(Planted::NONE, transcript);
}

pub(super) fn check_planted(planted: Planted, transcript: &str) {
    let lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected = lines.fold(String::new(), |text, line| text + line + "\n");
    let mut rig = Rig::planted(planted);
    let mut played = String::new();
    for command in expected.lines().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(played, "> {command}").unwrap();
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
        [epoch, ..] => {
            let epoch = number(epoch.trim_start_matches('s'));
            let (request, payload) = request(epoch, &words[1..]);
            rig.ask(epoch, request, payload)
        }
        [] => panic!("no command"),
    }
}

fn request(epoch: u64, words: &[&str]) -> (ReplicaRequest, Bytes) {
    let request = match words {
        ["open"] => ReplicaRequest::Open { replicas: replicas() },
        ["adopt", chosen @ ..] => ReplicaRequest::Adopt { chosen: summary(chosen) },
        ["copy", origin, ids] => {
            let origin = number(origin.trim_start_matches('s'));
            let (first, count) = range(ids);
            let request = ReplicaRequest::Copy {
                origin: session(origin),
                first: TransactionId(first),
                count: count as u32,
            };
            return (request, run(origin, first, count));
        }
        ["join", at] => ReplicaRequest::Join { at: mark(at) },
        ["append", ids, "committed", committed] => {
            let (first, count) = range(ids);
            let request = ReplicaRequest::Append {
                first: TransactionId(first),
                count: count as u32,
                committed: mark(committed),
            };
            return (request, run(epoch, first, count));
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

/// The log written as `s1@0 s2@5 to 7`, or `nothing`.
fn summary(words: &[&str]) -> LogSummary {
    let [sessions @ .., "to", last] = words else { return LogSummary::default() };
    let named = |word: &&str| {
        let (epoch, first) = word.split_once('@').expect("a session and its first id");
        (session(number(epoch.trim_start_matches('s'))), TransactionId(number(first)))
    };
    LogSummary { sessions: sessions.iter().map(named).collect(), last: mark(last) }
}

fn summary_text(log: &LogSummary) -> String {
    if log.sessions.is_empty() {
        return "nothing".to_owned();
    }
    let sessions =
        log.sessions.iter().map(|(session, first)| format!("{}@{first} ", short(session)));
    sessions.collect::<String>() + &format!("to {}", log.last)
}

fn short(session: &SessionId) -> String {
    format!("s{}", session.epoch.0)
}

fn ids(first: TransactionId, count: u32) -> String {
    format!("{first}..{}", first.0 + u64::from(count) - 1)
}

fn entry_text(head: &EntryHead) -> String {
    match head {
        EntryHead::Create { .. } => "create".to_owned(),
        EntryHead::Promise { session, .. } => format!("promise {}", short(session)),
        EntryHead::Cut { keep, .. } => format!("cut to {keep}"),
        EntryHead::Join { session, .. } => format!("join {}", short(session)),
        EntryHead::Records { session, first, count, low_water, .. } => {
            format!("records {} of {}, low water {low_water}", ids(*first, *count), short(session))
        }
        EntryHead::LowWater { mark, .. } => format!("low water {mark}"),
        EntryHead::Coordinator(_) => panic!("a storage node does not write these"),
    }
}

fn reply_text(reply: &StorageReply) -> String {
    let answer = match &reply.message.answer {
        ReplicaAnswer::Opened { normal, log, low_water, start, replicas } => {
            assert_eq!((*start, replicas), (TransactionId::FIRST, &super::rig::replicas()));
            let normal = normal.as_ref().map_or_else(|| "none".to_owned(), short);
            format!("opened: normal {normal}, log {}, low water {low_water}", summary_text(log))
        }
        ReplicaAnswer::Fenced { promise } => format!("fenced by {}", short(promise)),
        ReplicaAnswer::Unknown => "unknown".to_owned(),
        ReplicaAnswer::Adopted { last } => format!("adopted, last {last}"),
        ReplicaAnswer::Copied { last } => format!("copied to {last}"),
        ReplicaAnswer::Joined => "joined".to_owned(),
        ReplicaAnswer::Acked { last } => format!("acked {last}"),
        ReplicaAnswer::Confirmed { round } => format!("confirmed {round}"),
        ReplicaAnswer::Resumed { joined, last } => format!("resumed: joined {joined}, last {last}"),
        ReplicaAnswer::Records { request, origin, first, count, done } => {
            assert_eq!(*request, 9);
            let run = run(origin.epoch.0, first.0, u64::from(*count));
            assert_eq!(reply.payload, run, "records come back as they were written");
            let more = if *done { "" } else { ", more comes" };
            format!("records {} of {}{more}", ids(*first, *count), short(origin))
        }
        ReplicaAnswer::ReadFailed { reason, .. } => format!("read failed: {reason}"),
        ReplicaAnswer::OutOfPlace { reason } => format!("out of place: {reason}"),
    };
    format!("-> {} {answer}", short(&reply.message.session))
}
