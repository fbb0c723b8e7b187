//! The protocol as a reader of transcripts sees it: entries, requests, answers and what sessions
//! say, a line each. Sessions go by their epochs. Words for people: no program reads them.

use crate::id::{SessionId, TransactionId};
use crate::journal::EntryHead;
use crate::sequencer::SequencerOutput;
use crate::wire::{LogSummary, ReplicaAnswer, ReplicaRequest};

/// A log: which session begins where, and the end.
pub fn summary_text(log: &LogSummary) -> String {
    if log.sessions.is_empty() {
        return "nothing".to_owned();
    }
    let sessions =
        log.sessions.iter().map(|(session, first)| format!("{}@{first} ", short(session)));
    sessions.collect::<String>() + &format!("to {}", log.last)
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
        EntryHead::Cut { keep, .. } => format!("cut to {keep}"),
        EntryHead::Join { session, .. } => format!("join {}", short(session)),
        EntryHead::Records { session, first, count, low_water, .. } => {
            format!("records {} of {}, low water {low_water}", ids(*first, *count), short(session))
        }
        EntryHead::LowWater { mark, .. } => format!("low water {mark}"),
        EntryHead::Coordinator(change) => format!("coordinator change {}", change.revision.0),
    }
}

/// What a server asks of a replica.
pub fn request_text(request: &ReplicaRequest) -> String {
    match request {
        ReplicaRequest::Open { .. } => "open".to_owned(),
        ReplicaRequest::Adopt { chosen } => format!("adopt {}", summary_text(chosen)),
        ReplicaRequest::Copy { origin, first, count } => {
            format!("copy {} of {}", ids(*first, *count), short(origin))
        }
        ReplicaRequest::Join { at } => format!("join at {at}"),
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
        ReplicaAnswer::Opened { normal, log, low_water, .. } => {
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
        ReplicaAnswer::Records { origin, first, count, done, .. } => {
            let more = if *done { "" } else { ", more comes" };
            format!("records {} of {}{more}", ids(*first, *count), short(origin))
        }
        ReplicaAnswer::ReadFailed { reason, .. } => format!("read failed: {reason}"),
        ReplicaAnswer::OutOfPlace { reason } => format!("out of place: {reason}"),
    }
}

/// What a session says to its server.
pub fn output_text(output: &SequencerOutput) -> String {
    match output {
        SequencerOutput::ToReplica { node, request, .. } => {
            format!("asks {node} to {}", request_text(&request.request))
        }
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
