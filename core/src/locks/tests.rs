use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::id::{ClientId, Generation, PartitionId, ReqId};
use crate::limits::Limits;
use crate::record::NewRecord;

/// Locks of a record, and the mark it was computed at.
#[derive(Debug, Clone, Default)]
struct Locks {
    computed_at: u64,
    writes: Vec<u64>,
    reads: Vec<u64>,
    appends: Vec<u64>,
}

impl Locks {
    fn with<T>(&self, on: impl FnOnce(&RecordView<'_>) -> T) -> T {
        let ids = |numbers: &[u64]| numbers.iter().map(|n| LockId(*n)).collect::<Vec<_>>();
        let (writes, reads, appends) = (ids(&self.writes), ids(&self.reads), ids(&self.appends));
        let record = NewRecord {
            req_id: ReqId {
                client: ClientId(1),
                generation: Generation(1),
                partition: PartitionId(0),
                sequence: 0,
            },
            header: 0,
            computed_at: Mark::before(TransactionId(self.computed_at)),
            writes: &writes,
            reads: &reads,
            appends: &appends,
            data: &[],
        };
        let mut bytes = BytesMut::new();
        record.encode(&Limits::default(), &mut bytes).expect("within the limits");
        on(&RecordView::parse(&bytes, &Limits::default()).expect("just encoded").0)
    }

    fn changed(&self) -> impl Iterator<Item = u64> + '_ {
        self.writes.iter().chain(&self.appends).copied()
    }

    fn checked(&self) -> impl Iterator<Item = u64> + '_ {
        self.writes.iter().chain(&self.reads).copied()
    }
}

fn table_of(log: &[Locks], from: u64, window: LockWindow) -> LockTable {
    let mut table = LockTable::new(window, Mark::before(TransactionId(from)));
    for (id, locks) in (from..).zip(&log[from as usize..]) {
        locks.with(|record| table.note(TransactionId(id), record));
    }
    table
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Write,
    Read,
    Append,
}
use Kind::{Append, Read, Write};

fn one(kind: Kind, lock: u64, computed_at: u64) -> Locks {
    let mut locks = Locks { computed_at, ..Locks::default() };
    match kind {
        Write => locks.writes.push(lock),
        Read => locks.reads.push(lock),
        Append => locks.appends.push(lock),
    }
    locks
}

#[test]
fn writes_and_appends_change_writes_and_reads_check() {
    let cases = [
        (Write, Write, true),
        (Write, Read, true),
        (Write, Append, false),
        (Append, Write, true),
        (Append, Read, true),
        (Append, Append, false),
        (Read, Write, false),
        (Read, Read, false),
        (Read, Append, false),
    ];
    for (before, after, conflicts) in cases {
        let table = table_of(&[one(before, 7, 0)], 0, LockWindow::default());
        let same = one(after, 7, 0).with(|record| table.check(record));
        let conflict = LockConflict { id: TransactionId(0), lock: LockId(7), exact: true };
        let expected = if conflicts { Err(conflict) } else { Ok(()) };
        assert_eq!(same, expected, "{after:?} after {before:?}");
        assert_eq!(one(after, 8, 0).with(|record| table.check(record)), Ok(()), "another lock");
        assert_eq!(one(after, 7, 1).with(|record| table.check(record)), Ok(()), "it was seen");
    }
}

#[test]
fn the_newest_conflict_is_named() {
    let log = [one(Write, 1, 0), one(Append, 2, 0), one(Write, 1, 0), one(Write, 3, 0)];
    let table = table_of(&log, 0, LockWindow::default());
    let record = Locks { reads: vec![1, 2], ..Locks::default() };
    let expected = LockConflict { id: TransactionId(2), lock: LockId(1), exact: true };
    assert_eq!(record.with(|record| table.check(record)), Err(expected));
}

#[test]
fn below_the_floor_the_answer_is_a_precaution() {
    let log = [one(Write, 1, 0), Locks::default(), Locks::default(), one(Write, 2, 0)];
    let table = table_of(&log, 0, LockWindow { records: 2, locks: 100 });
    assert_eq!(table.floor(), TransactionId(1).mark());
    let precaution = LockConflict { id: TransactionId(1), lock: LockId(9), exact: false };
    assert_eq!(one(Read, 9, 1).with(|record| table.check(record)), Err(precaution));
    assert_eq!(one(Append, 9, 1).with(|record| table.check(record)), Ok(()), "checks nothing");
    assert_eq!(one(Read, 9, 2).with(|record| table.check(record)), Ok(()), "at the floor");
    let exact = LockConflict { id: TransactionId(3), lock: LockId(2), exact: true };
    let both = Locks { reads: vec![9, 2], computed_at: 1, ..Locks::default() };
    assert_eq!(both.with(|record| table.check(record)), Err(exact), "newer than the floor");
}

#[test]
fn after_trimming_the_table_answers_like_one_rebuilt_from_what_is_left() {
    let log: Vec<_> = (0..20).map(|id| one(Write, id % 7, id)).collect();
    for start in [0, 5, 12, 20, 90] {
        let mut trimmed = table_of(&log, 0, LockWindow { records: 15, locks: 100 });
        trimmed.trim(Mark::before(TransactionId(start)));
        let from = start.clamp(5, 20);
        let rebuilt = table_of(&log, from, LockWindow { records: 15, locks: 100 });
        assert_eq!(trimmed.floor(), rebuilt.floor());
        for (lock, computed_at) in (0..8).flat_map(|lock| (0..=20).map(move |mark| (lock, mark))) {
            let record = one(Read, lock, computed_at);
            let answers = [&trimmed, &rebuilt].map(|table| record.with(|view| table.check(view)));
            assert_eq!(answers[0], answers[1], "lock {lock} at {computed_at}, start {start}");
        }
    }
}

#[test]
fn memory_is_bounded_by_the_lock_changes() {
    let window = LockWindow { records: 100, locks: 4 };
    let pair = Locks { writes: vec![1, 2], ..Locks::default() };
    let mut table = table_of(&[pair.clone(), pair.clone(), pair.clone()], 0, window);
    assert_eq!(table.floor(), TransactionId(0).mark());
    let five = Locks { appends: vec![1, 2, 3, 4, 5], ..Locks::default() };
    five.with(|record| table.note(TransactionId(3), record));
    assert_eq!(table.floor(), TransactionId(3).mark(), "alone it is over the bound");
    assert!(table.changes.is_empty());
}

#[test]
#[should_panic(expected = "was noted after")]
fn ids_ascend() {
    let mut table = LockTable::new(LockWindow::default(), TransactionId(4).mark());
    Locks::default().with(|record| table.note(TransactionId(4), record));
}

fn locks() -> impl Strategy<Value = Locks> {
    let some = || prop::collection::vec(0u64..12, 0..3);
    (0u64..60, some(), some(), some()).prop_map(|(computed_at, writes, reads, appends)| Locks {
        computed_at,
        writes,
        reads,
        appends,
    })
}

/// The floor by its definition: before the longest end of the log that fits the window.
fn floor_of(log: &[Locks], window: LockWindow) -> usize {
    let fits = |from: &usize| {
        let changes: usize = log[*from..].iter().map(|locks| locks.changed().count()).sum();
        log.len() - from <= window.records as usize && changes <= window.locks
    };
    (0..=log.len()).find(fits).expect("an empty end fits")
}

fn naive_check(log: &[Locks], floor: usize, locks: &Locks) -> Result<(), LockConflict> {
    let blocks = |id: &usize| {
        let changed = |lock: &u64| log[*id].changed().any(|changed| changed == *lock);
        locks.checked().find(changed)
    };
    let unseen = floor.max(locks.computed_at as usize)..log.len();
    if let Some((id, lock)) = unseen.rev().find_map(|id| Some((id, blocks(&id)?))) {
        return Err(LockConflict { id: TransactionId(id as u64), lock: LockId(lock), exact: true });
    }
    match locks.checked().next() {
        Some(lock) if (locks.computed_at as usize) < floor => Err(LockConflict {
            id: TransactionId(floor as u64 - 1),
            lock: LockId(lock),
            exact: false,
        }),
        _ => Ok(()),
    }
}

proptest! {
    #[test]
    fn it_answers_like_a_scan_of_the_log(
        log in prop::collection::vec(locks(), 0..50),
        checks in prop::collection::vec(locks(), 1..10),
        records in 1u64..30,
        locks in 1usize..40,
    ) {
        let window = LockWindow { records, locks };
        let table = table_of(&log, 0, window);
        let floor = floor_of(&log, window);
        prop_assert_eq!(table.floor(), Mark::before(TransactionId(floor as u64)));
        for locks in checks {
            let found = locks.with(|record| table.check(record));
            prop_assert_eq!(found, naive_check(&log, floor, &locks));
            // One wait is enough: with the named record applied, nothing stands in the way.
            if let Err(conflict) = found {
                let again = Locks { computed_at: conflict.id.0 + 1, ..locks };
                prop_assert_eq!(again.with(|record| table.check(record)), Ok(()));
            }
        }
    }

    #[test]
    fn a_rebuilt_table_gives_the_same_answers(
        log in prop::collection::vec(locks(), 1..50),
        checks in prop::collection::vec(locks(), 1..10),
        records in 1u64..30,
        locks in 1usize..40,
    ) {
        let window = LockWindow { records, locks };
        let lost = table_of(&log, 0, window);
        let last = Mark::before(TransactionId(log.len() as u64));
        let rebuilt = table_of(&log, LockTable::rebuild_from(last, window).0, window);
        prop_assert_eq!(lost.floor(), rebuilt.floor());
        for locks in checks {
            let [before, after] =
                [&lost, &rebuilt].map(|table| locks.with(|record| table.check(record)));
            prop_assert_eq!(before, after);
        }
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn an_ignored_floor_shows() {
    let log = [one(Write, 1, 0), Locks::default(), Locks::default(), Locks::default()];
    let table = table_of(&log, 0, LockWindow { records: 2, locks: 100 });
    let table = table.with_planted(Planted::bug(PlantedBug::IgnoreLockFloor));
    assert_eq!(one(Read, 1, 0).with(|record| table.check(record)), Ok(()), "it was changed");
}
