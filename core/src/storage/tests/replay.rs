//! Journals that no storage node writes are refused, whatever their checksums say.

use crate::coordinator::{Change, Revision};
use crate::id::{Mark, Position, SessionId, SetVersion, TransactionId};
use crate::journal::{EntryHead, FoundEntry, Place};
use crate::limits::Limits;
use crate::log::{LogSummary, SetChange};
use crate::planted::Planted;
use crate::storage::testing::{CREATION, PARTITION, empty_log, position, replicas, session};
use crate::storage::{Inconsistency, ReplayError, Replayed, Storage};

fn create() -> EntryHead {
    let set = SetChange::initial(SetVersion::FIRST, replicas());
    EntryHead::Create { partition: PARTITION, creation: CREATION, set }
}

fn promise(epoch: u64) -> EntryHead {
    EntryHead::Promise { partition: PARTITION, session: session(epoch) }
}

fn join(epoch: u64) -> EntryHead {
    EntryHead::Join { partition: PARTITION, session: session(epoch) }
}

fn cut(keep: u64) -> EntryHead {
    EntryHead::Cut { partition: PARTITION, keep: position(mark(keep)) }
}

fn low_water(last: u64) -> EntryHead {
    EntryHead::LowWater { partition: PARTITION, mark: mark(last) }
}

fn records(epoch: u64, first: u64, count: u32, low_water: Mark) -> EntryHead {
    let (session, first) = (session(epoch), TransactionId(first));
    EntryHead::Records { partition: PARTITION, session, first, count, low_water }
}

fn change(epoch: u64, at: u64, number: u64) -> EntryHead {
    let (version, at) = (SetVersion(number), mark(at));
    let change = SetChange { version, session: Some(session(epoch)), at, replicas: replicas() };
    EntryHead::Change { partition: PARTITION, change }
}

fn trim(start: Mark) -> EntryHead {
    EntryHead::Trim { partition: PARTITION, start }
}

/// A log that session `epoch` wrote and that was trimmed to `start`.
fn reset(epoch: u64, start: u64) -> EntryHead {
    let sessions = vec![(session(epoch), TransactionId(0))];
    let base = LogSummary { start: mark(start), sessions, last: mark(start), ..empty_log() };
    EntryHead::Reset { partition: PARTITION, base }
}

fn repair(first: u64, count: u32) -> EntryHead {
    let (session, first) = (session(2), TransactionId(first));
    EntryHead::Repair { partition: PARTITION, session, first, count }
}

fn mark(last: u64) -> Mark {
    Mark::at(TransactionId(last))
}

fn found(head: EntryHead, place: Option<Place>) -> FoundEntry<'static> {
    FoundEntry { head, place, body: &[], is_damaged: false }
}

/// Replays entries; every run of records has a place.
fn replay(heads: &[EntryHead]) -> Result<Storage, ReplayError> {
    let mut storage = Storage::new(Limits::default(), Planted::NONE);
    let place = Place { segment: 1, offset: 0, length: 64 };
    for head in heads {
        let place = (!head.is_control()).then_some(place);
        storage.replay(&found(head.clone(), place))?;
    }
    Ok(storage)
}

/// Session 2 is joined and wrote ids 0 to 4, of which 0 to 2 are known to be committed.
fn sound() -> Vec<EntryHead> {
    vec![create(), promise(2), join(2), records(2, 0, 5, Mark::NONE), low_water(2)]
}

#[test]
fn entries_that_contradict_those_before_are_refused() {
    let none = || "none".to_owned();
    let two = |session: SessionId| session.to_string();
    let gap =
        |first, count| Inconsistency::Records { first: TransactionId(first), count, last: mark(4) };
    let own = position(mark(4));
    let no_cut = |keep| Inconsistency::Cut { keep, low_water: mark(2), own };
    let no_set = |at, number| {
        let at = Position { last: mark(at), version: SetVersion(number) };
        Inconsistency::Change { at, own }
    };
    let no_start = |start: Mark| Inconsistency::Trim { start, low_water: mark(2) };
    let no_base = |start: Mark| Inconsistency::Reset { start, low_water: mark(2) };
    let out_of_turn =
        |epoch| Inconsistency::Session { session: session(epoch), first: TransactionId(5) };
    let cases = [
        (create(), Inconsistency::Created),
        (promise(2), Inconsistency::Promise(session(2), two(session(2)))),
        (promise(1), Inconsistency::Promise(session(1), two(session(2)))),
        (join(2), Inconsistency::Join(session(2), two(session(2)))),
        (join(3), Inconsistency::Join(session(3), two(session(2)))),
        (cut(1), no_cut(position(mark(1)))),
        (cut(4), no_cut(position(mark(4)))),
        (records(2, 6, 1, mark(2)), gap(6, 1)),
        (records(2, 4, 1, mark(2)), gap(4, 1)),
        (records(2, 5, 0, mark(2)), gap(5, 0)),
        (records(1, 5, 1, mark(2)), out_of_turn(1)),
        (records(3, 5, 1, mark(2)), out_of_turn(3)),
        (records(2, 5, 1, mark(1)), Inconsistency::LowWater(mark(1), mark(2), mark(5))),
        (records(2, 5, 1, mark(6)), Inconsistency::LowWater(mark(6), mark(2), mark(5))),
        (change(2, 3, 1), no_set(3, 1)),
        (change(2, 4, 2), no_set(4, 2)),
        (change(3, 4, 1), no_set(4, 1)),
        (change(1, 4, 1), no_set(4, 1)),
        (trim(mark(3)), no_start(mark(3))),
        (trim(Mark::NONE), no_start(Mark::NONE)),
        (reset(2, 1), no_base(mark(1))),
        (reset(3, 6), no_base(mark(6))),
        (repair(2, 0), Inconsistency::Repair { first: TransactionId(2), count: 0 }),
        (low_water(1), Inconsistency::LowWater(mark(1), mark(2), mark(4))),
        (low_water(5), Inconsistency::LowWater(mark(5), mark(2), mark(4))),
    ];
    for (head, reason) in cases {
        let heads = [sound(), vec![head.clone()]].concat();
        assert_eq!(replay(&heads).unwrap_err(), reason.at(PARTITION), "{head:?}");
    }
    let early = replay(&[promise(1)]).unwrap_err();
    assert_eq!(early, Inconsistency::NotCreated.at(PARTITION));
    let unpromised = replay(&[create(), join(1)]).unwrap_err();
    assert_eq!(unpromised, Inconsistency::Join(session(1), none()).at(PARTITION));
}

#[test]
fn records_without_a_place_are_refused() {
    let mut storage = replay(&sound()).unwrap();
    let error = storage.replay(&found(records(2, 5, 1, mark(2)), None)).unwrap_err();
    let last = mark(4);
    let reason = Inconsistency::Records { first: TransactionId(5), count: 1, last };
    assert_eq!(error, reason.at(PARTITION));
}

#[test]
fn the_coordinators_entries_are_not_the_storages() {
    let mut storage = replay(&sound()).unwrap();
    let before = storage.clone();
    let change = Change { revision: Revision(1), key: "nodes/1".to_owned(), value: None };
    let replayed = storage.replay(&found(EntryHead::Coordinator(change.clone()), None));
    assert_eq!(replayed, Ok(Replayed::Change(change)));
    assert!(storage.replicas().eq(before.replicas()));
}
