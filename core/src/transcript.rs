//! The protocol as a reader of transcripts sees it: entries, requests, answers and what sessions
//! say, a line each. Sessions go by their epochs. Words for people: no program reads them.

use crate::id::{IdRange, Position, SessionId, SetVersion, TransactionId};
use crate::journal::EntryHead;
use crate::log::{LogSummary, SetChange};
use crate::sequencer::SequencerOutput;
use crate::wire::{ReplicaAnswer, ReplicaRequest};

/// A log: which session begins where, and the end.
pub fn summary_text(log: &LogSummary) -> String {
    let start = match log.start.id() {
        Some(id) => format!("trimmed to {id}, "),
        None => String::new(),
    };
    let sessions =
        log.sessions.iter().map(|(session, first)| format!("{}@{first} ", short(session)));
    let sessions = match log.sessions.is_empty() {
        true => "nothing".to_owned(),
        false => sessions.collect::<String>() + &format!("to {}", log.last),
    };
    let changes = log.sets.iter().filter(|set| set.session.is_some());
    let changes = changes.map(|set| format!(", {}", change_text(set)));
    start + &sessions + &changes.collect::<String>()
}

/// A replica set and where it came to be: `v2 at 17 = n1 n3 n4`.
pub fn change_text(change: &SetChange) -> String {
    let nodes = change.replicas.nodes().map(|node| format!(" {node}"));
    format!("{} at {} ={}", change.version, change.at, nodes.collect::<String>())
}

/// The last id, and the replica set's version unless it is the first.
pub fn position_text(at: Position) -> String {
    match at.version {
        SetVersion::FIRST => at.last.to_string(),
        version => format!("{} ({version})", at.last),
    }
}

fn ranges_text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!(" {}..{}", range.first, range.last)).collect()
}

fn damaged_text(ranges: &[IdRange]) -> String {
    match ranges.is_empty() {
        true => String::new(),
        false => format!(", can't read{}", ranges_text(ranges)),
    }
}

/// A session by its epoch.
pub fn short(session: &SessionId) -> String {
    format!("s{}", session.epoch.0)
}

/// `first..last`, both included.
pub fn ids(first: TransactionId, count: u32) -> String {
    format!("{first}..{}", first.0 + u64::from(count) - 1)
}

/// A journal entry.
pub fn entry_text(head: &EntryHead) -> String {
    match head {
        EntryHead::Create { .. } => "create".to_owned(),
        EntryHead::Promise { session, .. } => format!("promise {}", short(session)),
        EntryHead::Cut { keep, .. } => format!("cut to {}", position_text(*keep)),
        EntryHead::Change { change, .. } => format!("change to {}", change_text(change)),
        EntryHead::Trim { start, .. } => format!("trim to {start}"),
        EntryHead::Reset { base, .. } => {
            format!("start over at {}", position_text(base.position()))
        }
        EntryHead::Repair { session, first, count, .. } => {
            format!("repair {} of {}", ids(*first, *count), short(session))
        }
        EntryHead::Join { session, .. } => format!("join {}", short(session)),
        EntryHead::Records { session, first, count, low_water, .. } => {
            format!("records {} of {}, low water {low_water}", ids(*first, *count), short(session))
        }
        EntryHead::LowWater { mark, .. } => format!("low water {mark}"),
        EntryHead::Enroll => "enroll".to_owned(),
        EntryHead::Checkpoint { number, part } => format!("checkpoint {}, part {part}", number.0),
        EntryHead::CheckpointEnd { number, parts } => {
            format!("checkpoint {} of {parts} parts ends", number.0)
        }
        EntryHead::Coordinator(change) => format!("coordinator change {}", change.revision.0),
    }
}

/// What a server asks of a replica.
pub fn request_text(request: &ReplicaRequest) -> String {
    match request {
        ReplicaRequest::Open { learner: Some(member), .. } => {
            format!("open, {} learns", member.node)
        }
        ReplicaRequest::Open { .. } => "open".to_owned(),
        ReplicaRequest::Adopt { chosen } => format!("adopt {}", summary_text(chosen)),
        ReplicaRequest::Copy { origin, first, count } => {
            format!("copy {} of {}", ids(*first, *count), short(origin))
        }
        ReplicaRequest::Join { at } => format!("join at {}", position_text(*at)),
        ReplicaRequest::Change(change) => format!("change to {}", change_text(change)),
        ReplicaRequest::Trim { start } => format!("trim to {start}"),
        ReplicaRequest::Repair { origin, first, count } => {
            format!("repair {} of {}", ids(*first, *count), short(origin))
        }
        ReplicaRequest::Append { first, count, committed } => {
            format!("append {}, committed {committed}", ids(*first, *count))
        }
        ReplicaRequest::Commit { committed } => format!("commit {committed}"),
        ReplicaRequest::Confirm { round } => format!("confirm {round}"),
        ReplicaRequest::Resume => "resume".to_owned(),
        ReplicaRequest::Read { first, to, .. } => format!("read {first}..{to}"),
    }
}

/// What a replica answers.
pub fn answer_text(answer: &ReplicaAnswer) -> String {
    match answer {
        ReplicaAnswer::Opened { normal, log, low_water, damaged, .. } => {
            let normal = normal.as_ref().map_or_else(|| "none".to_owned(), short);
            let (log, damaged) = (summary_text(log), damaged_text(damaged));
            format!("opened: normal {normal}, log {log}, low water {low_water}{damaged}")
        }
        ReplicaAnswer::Fenced { promise } => format!("fenced by {}", short(promise)),
        ReplicaAnswer::Unknown => "unknown".to_owned(),
        ReplicaAnswer::Suspect { last } => format!("suspect, last {last}"),
        ReplicaAnswer::Adopted { at, damaged } => {
            format!("adopted, last {}{}", position_text(*at), damaged_text(damaged))
        }
        ReplicaAnswer::Changed { at } => format!("changed, last {}", position_text(*at)),
        ReplicaAnswer::Damaged { ranges } => match ranges.is_empty() {
            true => "whole again".to_owned(),
            false => format!("can't read{}", ranges_text(ranges)),
        },
        ReplicaAnswer::Copied { last } => format!("copied to {last}"),
        ReplicaAnswer::Joined => "joined".to_owned(),
        ReplicaAnswer::Acked { last } => format!("acked {last}"),
        ReplicaAnswer::Confirmed { round } => format!("confirmed {round}"),
        ReplicaAnswer::Resumed { joined, at, .. } => {
            format!("resumed: joined {joined}, last {}", position_text(*at))
        }
        ReplicaAnswer::Records { origin, first, count, done, .. } => {
            let more = if *done { "" } else { ", more comes" };
            format!("records {} of {}{more}", ids(*first, *count), short(origin))
        }
        ReplicaAnswer::ReadFailed { reason, .. } => format!("read failed: {reason}"),
        ReplicaAnswer::OutOfPlace { reason } => format!("out of place: {reason}"),
        ReplicaAnswer::Space { is_full: true } => "the disk is full".to_owned(),
        ReplicaAnswer::Space { is_full: false } => "there is room again".to_owned(),
        ReplicaAnswer::Quota { is_over: true } => "the partition has come to its quota".to_owned(),
        ReplicaAnswer::Quota { is_over: false } => "the partition may have more again".to_owned(),
    }
}

/// What a session says to its server.
pub fn output_text(output: &SequencerOutput) -> String {
    match output {
        SequencerOutput::ToReplica { node, request, .. } => {
            format!("asks {node} to {}", request_text(&request.request))
        }
        SequencerOutput::Reach { node } => format!("wants to reach {node}"),
        SequencerOutput::SetCommitted(change) => format!("commits {}", change_text(change)),
        SequencerOutput::Notice(text) => format!("notes: {text}"),
        SequencerOutput::Opened { committed } => format!("is open, committed {committed}"),
        SequencerOutput::Committed(run) => format!("commits {}", ids(run.first, run.count)),
        SequencerOutput::Confirmed { round, committed } => {
            format!("confirms round {round}, committed {committed}")
        }
        SequencerOutput::Records { run, done, .. } => {
            let more = if *done { "" } else { ", more comes" };
            format!("reads {} of {}{more}", ids(run.first, run.count), short(&run.session))
        }
        SequencerOutput::ReadFailed { reason, .. } => format!("can't read: {reason}"),
        SequencerOutput::Over { reason, .. } => format!("is over: {reason}"),
    }
}
