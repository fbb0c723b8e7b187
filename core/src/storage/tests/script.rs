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

use crate::id::{Mark, TransactionId};
use crate::planted::Planted;
use crate::storage::StorageReply;
use crate::storage::testing::{
    Rig, answer_text, entry_text, member, replicas, run, session, short,
};
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest};

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

fn reply_text(reply: &StorageReply) -> String {
    match &reply.message.answer {
        ReplicaAnswer::Opened { start, replicas: said, .. } => {
            assert_eq!((*start, said), (TransactionId::FIRST, &replicas()));
        }
        ReplicaAnswer::Records { request, origin, first, count, .. } => {
            assert_eq!(*request, 9);
            let run = run(origin.epoch.0, first.0, u64::from(*count));
            assert_eq!(reply.payload, run, "records come back as they were written");
        }
        _ => {}
    }
    format!("-> {} {}", short(&reply.message.session), answer_text(&reply.message.answer))
}
