//! What a frame or a journal entry is about, in words and for filters.
//!
//! It reads messages by their names and fields only, and takes one that it does not know for one
//! that concerns no partition.

use waltz_core::id::{Mark, PartitionId, ReqId, TransactionId};
use waltz_core::journal::EntryHead;
use waltz_core::limits::Limits;
use waltz_core::record::RecordView;
use waltz_core::wire::{
    ClientRequest, Frame, FromReplica, Message, ReplicaAnswer, ReplicaRequest, ServerReply,
    ToReplica,
};

/// What something is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mention {
    pub(super) partition: Option<PartitionId>,
    /// From the first of these transactions up to the last.
    pub(super) ids: Option<(TransactionId, Mark)>,
    /// The attempts whose records come along.
    pub(super) appended: Vec<ReqId>,
}

impl Mention {
    fn of(partition: PartitionId) -> Self {
        Self { partition: Some(partition), ..Self::default() }
    }

    fn run(partition: PartitionId, first: TransactionId, count: u32) -> Self {
        let last = Mark::before(TransactionId(first.0.saturating_add(u64::from(count))));
        Self { ids: Some((first, last)), ..Self::of(partition) }
    }

    fn one(partition: PartitionId, id: Option<TransactionId>) -> Self {
        Self { ids: id.map(|id| (id, Mark::at(id))), ..Self::of(partition) }
    }

    /// Whether it names this transaction.
    pub(super) fn names(&self, partition: PartitionId, id: TransactionId) -> bool {
        let within = |(first, last): (TransactionId, Mark)| first <= id && last.includes(id);
        self.partition == Some(partition) && self.ids.is_some_and(within)
    }
}

/// What a journal entry is about.
pub(super) fn of_entry(entry: &EntryHead) -> Mention {
    match entry {
        EntryHead::Records { partition, first, count, .. } => {
            Mention::run(*partition, *first, *count)
        }
        EntryHead::Create { partition, .. }
        | EntryHead::Promise { partition, .. }
        | EntryHead::Cut { partition, .. }
        | EntryHead::Join { partition, .. }
        | EntryHead::LowWater { partition, .. } => Mention::of(*partition),
        _ => Mention::default(),
    }
}

/// A frame in words, and what it is about.
pub(super) fn of_frame(frame: &Frame) -> (String, Mention) {
    let message = Message::decode(&frame.head);
    let opened = message.and_then(|message| message.open(frame.payload.clone()));
    let Ok((message, payload)) = opened else {
        let (head, payload) = (frame.head.len(), frame.payload.len());
        return (format!("a frame of {head} and {payload} bytes"), Mention::default());
    };
    let (text, mut mention) = match &message {
        Message::ToReplica(ToReplica { partition, session, request, .. }) => {
            (format!("{partition} {session} {request:?}"), of_request(*partition, request))
        }
        Message::FromReplica(FromReplica { partition, session, answer }) => {
            (format!("{partition} {session} {answer:?}"), of_answer(*partition, answer))
        }
        Message::Client(request) => (format!("{request:?}"), of_client(request)),
        Message::Server(reply) => (format!("{reply:?}"), of_server(reply)),
        other => (format!("{other:?}"), Mention::default()),
    };
    mention.appended = attempts(&payload);
    let attempts: String = mention.appended.iter().map(|attempt| format!(" {attempt}")).collect();
    (text + &attempts, mention)
}

fn of_request(partition: PartitionId, request: &ReplicaRequest) -> Mention {
    match request {
        ReplicaRequest::Copy { first, count, .. } | ReplicaRequest::Append { first, count, .. } => {
            Mention::run(partition, *first, *count)
        }
        ReplicaRequest::Read { first, to, .. } => {
            Mention { ids: Some((*first, *to)), ..Mention::of(partition) }
        }
        _ => Mention::of(partition),
    }
}

fn of_answer(partition: PartitionId, answer: &ReplicaAnswer) -> Mention {
    match answer {
        ReplicaAnswer::Records { first, count, .. } => Mention::run(partition, *first, *count),
        ReplicaAnswer::Acked { last } | ReplicaAnswer::Copied { last } => {
            Mention::one(partition, last.id())
        }
        _ => Mention::of(partition),
    }
}

fn of_client(request: &ClientRequest) -> Mention {
    match request {
        ClientRequest::Fetch { partition, id, .. } => Mention::one(*partition, Some(*id)),
        ClientRequest::Mount { partition, .. }
        | ClientRequest::Credit { partition, .. }
        | ClientRequest::Unmount { partition, .. }
        | ClientRequest::Append { partition, .. }
        | ClientRequest::Current { partition, .. } => Mention::of(*partition),
        _ => Mention::default(),
    }
}

fn of_server(reply: &ServerReply) -> Mention {
    match reply {
        ServerReply::Feed { partition, first, count, .. } => {
            Mention::run(*partition, *first, *count)
        }
        ServerReply::Conflict { partition, id, .. } => Mention::one(*partition, Some(*id)),
        ServerReply::Mounted { partition, .. }
        | ServerReply::Unmounted { partition, .. }
        | ServerReply::Ready { partition, .. }
        | ServerReply::AppendRefused { partition, .. } => Mention::of(*partition),
        _ => Mention::default(),
    }
}

/// The attempts of the records in a payload.
fn attempts(payload: &[u8]) -> Vec<ReqId> {
    let (mut rest, mut attempts) = (payload, Vec::new());
    while let Ok((record, after)) = RecordView::parse(rest, &Limits::default()) {
        attempts.push(record.req_id());
        rest = after;
    }
    attempts
}
