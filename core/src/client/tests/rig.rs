//! A machine, a clock, and the words its effects are told in.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::client::{
    Answer, Attachment, CallId, ClientConfig, ClientEffect, ClientInput, ClientMachine, Draft,
    Ending, Executed, InDoubt, Partitions, Patience, Start,
};
use crate::id::{ClientId, ClusterKey, Mark, MountId, NodeId, TransactionId};
use crate::io::ConnectionId;
use crate::limits::Limits;
use crate::lock::LockId;
use crate::record::RecordView;
use crate::time::Time;
use crate::wire::{ClientRequest, Message, ServerReply, Version, Welcome};

pub(super) use crate::client::testing::{
    ME, OTHER, P, mark, patience, records, seconds, session, view,
};

pub(super) const CLUSTER: ClusterKey = ClusterKey(5);

pub(super) fn conn(n: u64) -> ConnectionId {
    ConnectionId::dialed(n)
}

pub(super) struct Rig {
    pub(super) machine: ClientMachine,
    pub(super) now: Time,
    calls: u64,
    /// The sequences sent, by the counts in them, which is what tests know them by.
    sent: BTreeMap<u64, u64>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(ClientConfig::new(["n1", "n2"]))
    }

    pub(super) fn with(config: ClientConfig) -> Self {
        Self {
            machine: ClientMachine::new(ME, config, 42),
            now: Time(1_000_000_000),
            calls: 0,
            sent: BTreeMap::new(),
        }
    }

    /// A client that asks for an earlier one.
    pub(super) fn succeeding(config: ClientConfig) -> Self {
        let machine = ClientMachine::succeeding(ME, config, 42);
        Self { machine, ..Self::new() }
    }

    /// Partition 0 is mounted at node 1 over connection 1 as mount 1 in session 1, and ready; the
    /// application had applied nothing.
    pub(super) fn ready() -> Self {
        Self::ready_with(ClientConfig::new(["n1", "n2"]))
    }

    pub(super) fn ready_with(config: ClientConfig) -> Self {
        let mut rig = Self::with(config);
        rig.mounting();
        rig.mounted(1, 1, 1);
        rig.make_ready(1, 1, 1, 0);
        rig
    }

    /// As [`Self::ready`], but the mount has not been answered.
    pub(super) fn mounting(&mut self) {
        self.mounting_after(Mark::NONE);
    }

    /// As [`Self::mounting`]; the application had applied this much.
    pub(super) fn mounting_after(&mut self, mark: Mark) {
        self.turn([]);
        self.welcome(1, 1);
        self.reply(1, ServerReply::Cluster(view(1, 1)));
        self.turn([began(1, Ok(Start::After(mark)))]);
    }

    /// One turn; its effects in words, without alarms.
    pub(super) fn turn(&mut self, inputs: impl IntoIterator<Item = ClientInput>) -> Vec<String> {
        let mut effects = Vec::new();
        for mut input in inputs {
            if let ClientInput::Resolve { in_doubt, .. } = &mut input {
                in_doubt.req_id.sequence = self.sequence(in_doubt.req_id.sequence);
            }
            self.machine.step(self.now, input, &mut effects);
        }
        self.machine.step(self.now, ClientInput::EndOfTurn, &mut effects);
        let sent = effects.iter().flat_map(sequences_in);
        self.sent.extend(sent.map(|sequence| (count(sequence), sequence)));
        effects.iter().filter_map(words).collect()
    }

    pub(super) fn after(&mut self, time: Duration) -> Vec<String> {
        self.now = self.now + time;
        self.turn([ClientInput::Timer])
    }

    pub(super) fn received(&mut self, n: u64, message: &Message, payload: Bytes) -> Vec<String> {
        self.turn([ClientInput::Received { conn: conn(n), frame: message.with(payload) }])
    }

    /// The sequence that was sent with this count, or the count itself.
    pub(super) fn sequence(&self, count: u64) -> u64 {
        self.sent.get(&count).copied().unwrap_or(count)
    }

    pub(super) fn reply(&mut self, n: u64, mut reply: ServerReply) -> Vec<String> {
        match &mut reply {
            ServerReply::Conflict { sequence, .. } => *sequence = self.sequence(*sequence),
            ServerReply::AppendRefused { first, last, .. } => {
                (*first, *last) = (self.sequence(*first), self.sequence(*last));
            }
            _ => {}
        }
        self.received(n, &Message::Server(reply), Bytes::new())
    }

    /// Connection `n` opens and node `node` welcomes.
    pub(super) fn welcome(&mut self, n: u64, node: u32) -> Vec<String> {
        self.turn([ClientInput::Opened { conn: conn(n) }]);
        let welcome = Welcome { version: Version::NEWEST, cluster: CLUSTER, node: NodeId(node) };
        self.received(n, &Message::Welcome(welcome), Bytes::new())
    }

    pub(super) fn closed(&mut self, n: u64) -> Vec<String> {
        self.turn([ClientInput::Closed { conn: conn(n), reason: "reset".to_owned() }])
    }

    pub(super) fn mounted(&mut self, n: u64, mount: u64, epoch: u64) -> Vec<String> {
        let (mount, session) = (MountId(mount), session(epoch));
        self.reply(n, ServerReply::Mounted { partition: P, mount, session })
    }

    pub(super) fn make_ready(&mut self, n: u64, mount: u64, epoch: u64, to: u64) -> Vec<String> {
        let (mount, session, mark) = (MountId(mount), session(epoch), mark(to));
        self.reply(n, ServerReply::Ready { partition: P, mount, session, mark })
    }

    pub(super) fn feed(
        &mut self,
        n: u64,
        mount: u64,
        first: u64,
        by: &[(ClientId, u64)],
    ) -> Vec<String> {
        let (count, mount) = (by.len() as u32, MountId(mount));
        let first_id = TransactionId(first);
        let reply = ServerReply::Feed { partition: P, mount, first: first_id, count };
        let by: Vec<_> = by.iter().map(|(client, n)| (*client, self.sequence(*n))).collect();
        self.received(n, &Message::Server(reply), records(first, &by))
    }

    pub(super) fn conflict(&mut self, n: u64, mount: u64, sequence: u64, id: u64) -> Vec<String> {
        self.reply(
            n,
            ServerReply::Conflict {
                partition: P,
                mount: MountId(mount),
                sequence,
                id: TransactionId(id),
                lock: LockId(9),
                exact: true,
            },
        )
    }

    pub(super) fn call(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    pub(super) fn submit(&mut self) -> ClientInput {
        self.submit_with(Patience::default())
    }

    pub(super) fn submit_with(&mut self, patience: Patience) -> ClientInput {
        ClientInput::Submit { call: self.call(), partition: P, patience }
    }

    pub(super) fn append(&mut self) -> ClientInput {
        self.append_with(Patience::default())
    }

    pub(super) fn append_with(&mut self, patience: Patience) -> ClientInput {
        let draft = Draft { data: Bytes::from_static(b"x"), ..Draft::default() };
        ClientInput::Append { call: self.call(), partition: P, draft, at: None, patience }
    }
}

pub(super) fn began(attachment: u64, start: Result<Start, String>) -> ClientInput {
    ClientInput::Began { attachment: Attachment { partition: P, number: attachment }, start }
}

pub(super) fn applied(to: u64) -> ClientInput {
    let attachment = Attachment { partition: P, number: 1 };
    ClientInput::Applied { attachment, mark: mark(to), failed: false }
}

pub(super) fn failed_after(to: u64) -> ClientInput {
    let attachment = Attachment { partition: P, number: 1 };
    ClientInput::Applied { attachment, mark: mark(to), failed: true }
}

pub(super) fn executed(call: u64) -> ClientInput {
    let result = Executed::Append(Draft::default());
    ClientInput::Executed { call: CallId(call), partition: P, result }
}

pub(super) fn cancel(call: u64) -> ClientInput {
    ClientInput::Cancel { call: CallId(call), partition: P }
}

pub(super) fn choose(call: u64, partitions: Partitions) -> ClientInput {
    ClientInput::Choose { call: CallId(call), partitions }
}

fn number(conn: ConnectionId) -> u64 {
    (1..1000).find(|n| ConnectionId::dialed(*n) == conn).expect("a dialled connection")
}

fn words(effect: &ClientEffect) -> Option<String> {
    Some(match effect {
        ClientEffect::Connect { conn, address } => format!("dial #{} {address}", number(*conn)),
        ClientEffect::Send { conn, frame } => {
            let message = Message::decode(&frame.head).expect("the machine's own message");
            format!("#{} {}", number(*conn), message_words(&message, &frame.payload))
        }
        ClientEffect::Close { conn, reason } => format!("close #{}: {reason}", number(*conn)),
        ClientEffect::WakeAt(_) => return None,
        ClientEffect::Report(report) => format!("report {:?}: {}", report.level, report.text),
        ClientEffect::Begin { attachment } => format!("begin {}", attachment.number),
        ClientEffect::Attached { mark, .. } => format!("attached at {mark}"),
        ClientEffect::Apply { runs, owned, .. } => {
            let (first, last) = (runs.first().expect("a run"), runs.last().expect("a run"));
            let owned: Vec<_> =
                owned.iter().map(|(id, call)| format!("{id}=c{}", call.0)).collect();
            let to = last.last().id().expect("not empty");
            format!("apply {}..={to} own [{}]", first.first, owned.join(" "))
        }
        ClientEffect::Broken { attachment, .. } => format!("broken {}", attachment.number),
        ClientEffect::Detach { .. } => "detach".to_owned(),
        ClientEffect::Execute { call, at, .. } => format!("execute c{} at {at}", call.0),
        ClientEffect::LockFailed { call, conflict } => {
            format!("c{} met {}", call.0, conflict.id)
        }
        ClientEffect::Lost { call } => format!("c{} lost", call.0),
        ClientEffect::End { call, ending } => match ending {
            Ending::Failed(failure) => format!("c{} failed: {failure}", call.0),
            Ending::InDoubt(InDoubt { req_id, mark, .. }) => {
                format!("c{} in doubt: {} after {mark}", call.0, count(req_id.sequence))
            }
            ending => format!("c{} {ending:?}", call.0),
        },
        ClientEffect::Answer { call, answer } => match answer {
            Ok(Answer::Cluster(view)) => {
                format!("c{} cluster of {}", call.0, view.partitions.len())
            }
            Ok(Answer::Resolved(resolution)) => format!("c{} Resolved({resolution:?})", call.0),
            Ok(Answer::Record(record)) => format!("c{} record of {}", call.0, record.len()),
            Ok(answer) => format!("c{} {answer:?}", call.0),
            Err(why) => format!("c{} unanswered: {why}", call.0),
        },
        ClientEffect::Formed { partitions } => format!("formed {partitions}"),
        ClientEffect::Stop => "stop".to_owned(),
    })
}

fn message_words(message: &Message, payload: &Bytes) -> String {
    match message {
        Message::Hello(_) => "hello".to_owned(),
        Message::Client(request) => match request {
            ClientRequest::Describe => "describe".to_owned(),
            ClientRequest::Mount { mount, generation, after, credit, .. } => {
                format!("mount {mount} {generation} after {after} credit {credit}")
            }
            ClientRequest::Credit { mount, bytes, .. } => format!("credit {mount} {bytes}"),
            ClientRequest::Unmount { mount, .. } => format!("unmount {mount}"),
            ClientRequest::Append { mount, session, count, .. } => {
                let epoch = session.epoch;
                let records = appended(payload);
                assert_eq!(records.len(), *count as usize, "the count is of the payload");
                let records: Vec<_> =
                    records.iter().map(|(n, at)| format!("{}@{at}", self::count(*n))).collect();
                format!("append {mount} {epoch} {records:?}")
            }
            ClientRequest::Fetch { call, id, .. } => format!("fetch {call}: {id}"),
            ClientRequest::Current { call, .. } => format!("current {call}"),
            ClientRequest::Status { call } => format!("status {call}"),
            ClientRequest::Inspect { call } => format!("inspect {call}"),
            ClientRequest::Operate { call, request } => format!("operate {call} {request:?}"),
            ClientRequest::Authenticate { .. } => "authenticate".to_owned(),
        },
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The sequences and marks of appended records.
fn appended(payload: &Bytes) -> Vec<(u64, Mark)> {
    let mut rest = &payload[..];
    let mut appended = Vec::new();
    while !rest.is_empty() {
        let (record, after) = RecordView::parse(rest, &Limits::default()).expect("own records");
        assert_eq!(record.req_id().client, ME);
        appended.push((record.req_id().sequence, record.computed_at()));
        rest = after;
    }
    appended
}

/// The sequences that an effect sends.
fn sequences_in(effect: &ClientEffect) -> Vec<u64> {
    let ClientEffect::Send { frame, .. } = effect else { return Vec::new() };
    match Message::decode(&frame.head) {
        Ok(Message::Client(ClientRequest::Append { .. })) => {
            appended(&frame.payload).into_iter().map(|(sequence, _)| sequence).collect()
        }
        _ => Vec::new(),
    }
}

/// The count in a sequence.
fn count(sequence: u64) -> u64 {
    sequence & u64::from(u32::MAX)
}
