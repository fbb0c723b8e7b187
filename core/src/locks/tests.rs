//! Each rule of the lock table. (`explorer/locks/` compares a server's answers with a scan of the
//! log, at random.)

use super::testing::Locks;
use super::*;
use crate::id::{ClientId, Generation, PartitionId, ReqId};
use crate::limits::Limits;

fn with<T>(locks: &Locks, on: impl FnOnce(&RecordView<'_>) -> T) -> T {
    let bytes = locks.encode(ReqId {
        client: ClientId(1),
        generation: Generation(1),
        partition: PartitionId(0),
        sequence: 0,
    });
    on(&RecordView::parse(&bytes, &Limits::default()).expect("just encoded").0)
}

fn check(table: &LockTable, locks: &Locks) -> Result<(), LockConflict> {
    with(locks, |record| table.check(record))
}

fn table_of(log: &[Locks], from: u64, window: LockWindow) -> LockTable {
    let mut table = LockTable::new(window, Mark::before(TransactionId(from)));
    for (id, locks) in (from..).zip(&log[from as usize..]) {
        with(locks, |record| table.note(TransactionId(id), record));
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
        let same = check(&table, &one(after, 7, 0));
        let conflict = LockConflict { id: TransactionId(0), lock: LockId(7), exact: true };
        let expected = if conflicts { Err(conflict) } else { Ok(()) };
        assert_eq!(same, expected, "{after:?} after {before:?}");
        assert_eq!(check(&table, &one(after, 8, 0)), Ok(()), "another lock");
        assert_eq!(check(&table, &one(after, 7, 1)), Ok(()), "it was seen");
    }
}

#[test]
fn the_newest_conflict_is_named() {
    let log = [one(Write, 1, 0), one(Append, 2, 0), one(Write, 1, 0), one(Write, 3, 0)];
    let table = table_of(&log, 0, LockWindow::default());
    let record = Locks { reads: vec![1, 2], ..Locks::default() };
    let expected = LockConflict { id: TransactionId(2), lock: LockId(1), exact: true };
    assert_eq!(check(&table, &record), Err(expected));
}

#[test]
fn below_the_floor_the_answer_is_a_precaution() {
    let log = [one(Write, 1, 0), Locks::default(), Locks::default(), one(Write, 2, 0)];
    let table = table_of(&log, 0, LockWindow { records: 2, locks: 100 });
    assert_eq!(table.floor(), TransactionId(1).mark());
    let precaution = LockConflict { id: TransactionId(1), lock: LockId(9), exact: false };
    assert_eq!(check(&table, &one(Read, 9, 1)), Err(precaution));
    assert_eq!(check(&table, &one(Append, 9, 1)), Ok(()), "checks nothing");
    assert_eq!(check(&table, &one(Read, 9, 2)), Ok(()), "at the floor");
    let exact = LockConflict { id: TransactionId(3), lock: LockId(2), exact: true };
    let both = Locks { reads: vec![9, 2], computed_at: 1, ..Locks::default() };
    assert_eq!(check(&table, &both), Err(exact), "newer than the floor");
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
            let answers = [&trimmed, &rebuilt].map(|table| check(table, &record));
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
    with(&five, |record| table.note(TransactionId(3), record));
    assert_eq!(table.floor(), TransactionId(3).mark(), "alone it is over the bound");
    assert!(table.changes.is_empty());
}

#[test]
#[should_panic(expected = "was noted after")]
fn ids_ascend() {
    let mut table = LockTable::new(LockWindow::default(), TransactionId(4).mark());
    with(&Locks::default(), |record| table.note(TransactionId(4), record));
}
