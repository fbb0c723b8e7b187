//! A small journal with an entry of every kind: several segments, of two openings.

use bytes::Bytes;
use waltz_core::coordinator::{Change, LeaseId, Revision};
use waltz_core::id::{
    CheckpointNumber, ClusterKey, CreationId, Epoch, Mark, Member, NodeId, PartitionId, Position,
    ReplicaSet, SessionId, SetVersion, StorageId, TransactionId,
};
use waltz_core::io::Ticket;
use waltz_core::journal::{Damage, Entry, EntryHead, Fold, FoundEntry};
use waltz_core::limits::Limits;
use waltz_core::log::{LogSummary, SetChange};
use waltz_core::planted::Planted;
use waltz_runtime::journal::{Journal, JournalConfig, JournalError, Recovery};

use super::files::{Contents, Files};

/// Draws the journal's name and its openings' nonces.
const RANDOM: [u64; 2] = [7, 8];

/// The smallest segments, and entries for which they have room.
pub(crate) fn config() -> JournalConfig {
    let limits = Limits { frame_head: 1 << 10, frame_payload: 32 << 10, ..Limits::default() };
    let (cluster, node, planted) = (ClusterKey(1), NodeId(2), Planted::NONE);
    JournalConfig { cluster, node, segment_bytes: 64 << 10, limits, planted }
}

/// Opens a directory.
pub(crate) fn open(
    files: &Files,
    random: u64,
    fold: &mut dyn Fold,
) -> Result<(Journal<Files>, Recovery), JournalError> {
    Journal::open(files.clone(), config(), random, fold)
}

/// The sample's files, as this program writes them.
pub(crate) fn write() -> Contents {
    let files = Files::default();
    let batches = batches();
    let (first, second) = batches.split_at(batches.len() - 2);
    let mut ticket = 0;
    for (random, batches) in RANDOM.into_iter().zip([first, second]) {
        let opened = open(&files, random, &mut Anything);
        let (mut journal, _) = opened.expect("nothing is wrong with it");
        journal.replay_from(1);
        for batch in batches {
            let tickets = (ticket..).map(Ticket);
            ticket += batch.len() as u64;
            journal.write(tickets.zip(batch.iter().cloned()).collect()).expect("there is room");
            journal.sync().expect("memory does not fail");
        }
    }
    files.contents()
}

/// Takes any entry.
#[derive(Debug)]
pub(crate) struct Anything;

impl Fold for Anything {
    fn begin(&mut self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: FoundEntry<'_>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, _: Option<&Damage>) -> Result<(), String> {
        Ok(())
    }
}

/// Everything in it, in order; the last two batches are of the second opening.
pub(crate) fn batches() -> Vec<Vec<Entry>> {
    let mut batches = vec![
        vec![control(EntryHead::Enroll), create(0), create(1), create(2)],
        (0..3).map(|partition| control(promise(partition, 1))).collect(),
        (0..3).map(|partition| control(join(partition, 1))).collect(),
        vec![records(0, 1, 0, 700), records(1, 1, 0, 9_000), records(0, 1, 1, 5_100)],
        vec![records(1, 1, 1, 12_000), control(coordinator())],
    ];
    batches.extend((2..7).map(|id| vec![records(0, 1, id, 9_000)]));
    batches.push(vec![
        control(change(0)),
        control(low_water(0, 5)),
        control(trim(0, 2)),
        control(promise(1, 2)),
        control(cut(1, 0)),
        control(join(1, 2)),
        records(1, 2, 1, 300),
        repair(0, 4, 9_000),
        control(reset(2)),
    ]);
    batches.push(vec![checkpoint(0, 400), checkpoint(1, 1_600), control(checkpoint_end(2))]);
    batches.push(vec![records(0, 1, 7, 2_000), records(1, 2, 2, 1)]);
    batches.push(vec![control(promise(2, 3)), records(0, 1, 8, 4_096)]);
    batches
}

fn control(head: EntryHead) -> Entry {
    Entry { head, body: Bytes::new() }
}

/// Bytes that tell what they belong to.
fn body(number: u64, length: usize) -> Bytes {
    let mut body = number.to_le_bytes().repeat(length.div_ceil(8));
    body.truncate(length);
    body.into()
}

fn session(epoch: u64) -> SessionId {
    SessionId { epoch: Epoch(epoch), server: NodeId(2), nonce: 3 }
}

fn mark(id: u64) -> Mark {
    Mark::at(TransactionId(id))
}

fn initial() -> SetChange {
    let member = |node| Member { node: NodeId(node), storage: StorageId(u64::from(node) * 11) };
    SetChange::initial(SetVersion::FIRST, ReplicaSet((1..4).map(member).collect()))
}

fn create(partition: u32) -> Entry {
    let (creation, set) = (CreationId(u64::from(partition) + 5), initial());
    control(EntryHead::Create { partition: PartitionId(partition), creation, set })
}

fn promise(partition: u32, epoch: u64) -> EntryHead {
    EntryHead::Promise { partition: PartitionId(partition), session: session(epoch) }
}

fn join(partition: u32, epoch: u64) -> EntryHead {
    EntryHead::Join { partition: PartitionId(partition), session: session(epoch) }
}

fn records(partition: u32, epoch: u64, first: u64, length: usize) -> Entry {
    let head = EntryHead::Records {
        partition: PartitionId(partition),
        session: session(epoch),
        first: TransactionId(first),
        count: 1,
        low_water: if first < 7 { Mark::NONE } else { mark(5) },
    };
    Entry { head, body: body(u64::from(partition) << 32 | first, length) }
}

fn repair(partition: u32, first: u64, length: usize) -> Entry {
    let head = EntryHead::Repair {
        partition: PartitionId(partition),
        session: session(1),
        first: TransactionId(first),
        count: 1,
    };
    Entry { head, body: body(u64::from(partition) << 32 | first, length) }
}

fn coordinator() -> EntryHead {
    let value = Some((Bytes::from_static(b"value"), Some(LeaseId(6))));
    EntryHead::Coordinator(Change { revision: Revision(1), key: "nodes/2".into(), value })
}

fn change(partition: u32) -> EntryHead {
    let (session, at) = (Some(session(1)), mark(6));
    let change = SetChange { version: SetVersion::FIRST.next(), session, at, ..initial() };
    EntryHead::Change { partition: PartitionId(partition), change }
}

fn low_water(partition: u32, id: u64) -> EntryHead {
    EntryHead::LowWater { partition: PartitionId(partition), mark: mark(id) }
}

fn trim(partition: u32, id: u64) -> EntryHead {
    EntryHead::Trim { partition: PartitionId(partition), start: mark(id) }
}

fn cut(partition: u32, id: u64) -> EntryHead {
    let keep = Position { last: mark(id), version: SetVersion::FIRST };
    EntryHead::Cut { partition: PartitionId(partition), keep }
}

fn reset(partition: u32) -> EntryHead {
    let (start, sessions) = (mark(9), vec![(session(1), TransactionId(0))]);
    let base = LogSummary { start, sessions, sets: vec![initial()], last: start };
    EntryHead::Reset { partition: PartitionId(partition), base }
}

fn checkpoint(part: u32, length: usize) -> Entry {
    let head = EntryHead::Checkpoint { number: CheckpointNumber(1), part };
    Entry { head, body: body(u64::from(part), length) }
}

fn checkpoint_end(parts: u32) -> EntryHead {
    EntryHead::CheckpointEnd { number: CheckpointNumber(1), parts }
}
