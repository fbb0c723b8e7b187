//! One partition's log on one disk, as the entries of its journal make it.
//!
//! Invariant: what lies up to the start mark was committed and trimmed, and is nobody's to lose.

use bytes::Bytes;
use waltz_core::id::{Mark, SessionId, TransactionId};
use waltz_core::journal::{EntryHead, Place};
use waltz_core::limits::Limits;
use waltz_core::log::SetChange;
use waltz_core::record::{RecordView, Run};

/// A record on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) session: SessionId,
    pub(crate) bytes: Bytes,
}

impl Stored {
    /// The record.
    pub(crate) fn record(&self) -> RecordView<'_> {
        let parsed = RecordView::parse(&self.bytes, &Limits::default());
        parsed.expect("it was verified when it was stored").0
    }
}

/// A record, and where its newest copy on this disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    stored: Stored,
    place: Option<Place>,
}

/// One disk's log of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskLog {
    start: Mark,
    /// By id; none for what was trimmed.
    slots: Vec<Option<Slot>>,
    sets: Vec<SetChange>,
}

impl DiskLog {
    /// What was trimmed.
    pub(crate) fn start(&self) -> Mark {
        self.start
    }

    /// The last id.
    pub(crate) fn last(&self) -> Mark {
        Mark::before(TransactionId(self.slots.len() as u64))
    }

    /// The record of this id, if it is kept.
    pub(crate) fn at(&self, id: TransactionId) -> Option<&Stored> {
        self.slot(id).map(|slot| &slot.stored)
    }

    /// Where the record of this id is, if it is kept.
    pub(crate) fn place(&self, id: TransactionId) -> Option<Place> {
        self.slot(id).and_then(|slot| slot.place)
    }

    /// Where its runs are.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.slots.iter().filter_map(|slot| slot.as_ref()?.place)
    }

    /// Whether the record of this id is as asked, or was trimmed.
    pub(crate) fn holds(&self, id: TransactionId, is: impl Fn(&Stored) -> bool) -> bool {
        self.start.includes(id) || self.at(id).is_some_and(is)
    }

    /// The records that are kept, by place in the log.
    pub(crate) fn records(&self) -> impl Iterator<Item = (TransactionId, &Stored)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(id, slot)| Some((TransactionId(id as u64), &slot.as_ref()?.stored)))
    }

    /// The replica sets it tells of, ascending.
    pub(crate) fn sets(&self) -> &[SetChange] {
        &self.sets
    }

    /// Takes in what a journal says about this partition. What is trimmed comes back.
    pub(crate) fn fold(
        &mut self,
        head: &EntryHead,
        body: &Bytes,
        place: Option<Place>,
    ) -> Vec<Stored> {
        match head {
            EntryHead::Create { set, .. } => {
                *self = Self { sets: vec![set.clone()], ..Self::default() };
            }
            EntryHead::Cut { keep, .. } => {
                assert!(keep.last >= self.start, "what was trimmed can't be cut");
                self.slots.truncate(keep.last.count() as usize);
                self.sets.retain(|set| set.version <= keep.version);
            }
            EntryHead::Records { session, first, count, .. } => {
                assert_eq!(Mark::before(*first), self.last(), "runs follow on");
                let stored = stored((*session, *first, *count), body);
                self.slots.extend(stored.into_iter().map(|stored| Some(Slot { stored, place })));
            }
            EntryHead::Repair { session, first, count, .. } => {
                self.repair(stored((*session, *first, *count), body), place);
            }
            EntryHead::Change { change, .. } => self.sets.push(change.clone()),
            EntryHead::Trim { start, .. } => return self.trim(*start),
            EntryHead::Reset { base, .. } => {
                let trimmed = vec![None; base.start.count() as usize];
                *self = Self { start: base.start, slots: trimmed, sets: base.sets.clone() };
            }
            EntryHead::Promise { .. }
            | EntryHead::Join { .. }
            | EntryHead::LowWater { .. }
            | EntryHead::Coordinator(_)
            | EntryHead::Checkpoint { .. }
            | EntryHead::CheckpointEnd { .. }
            | EntryHead::Enroll => {}
        }
        Vec::new()
    }

    /// A copy stands for the records that the log has of its session.
    fn repair(&mut self, copies: Vec<Stored>, place: Option<Place>) {
        for copy in copies {
            let id = copy.record().id();
            let slot = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut);
            if let Some(slot) = slot.filter(|slot| slot.stored.session == copy.session) {
                *slot = Slot { stored: copy, place };
            }
        }
    }

    fn trim(&mut self, start: Mark) -> Vec<Stored> {
        self.start = self.start.max(start);
        let trimmed = self.slots.iter_mut().take(start.count() as usize);
        trimmed.filter_map(|slot| slot.take().map(|slot| slot.stored)).collect()
    }

    fn slot(&self, id: TransactionId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }
}

fn stored((session, first, count): (SessionId, TransactionId, u32), body: &Bytes) -> Vec<Stored> {
    let run = Run::verify(session, first, count, body.clone(), &Limits::default())
        .expect("a replica journals sound runs only");
    let records = run.records();
    let stored =
        |record: RecordView<'_>| Stored { session, bytes: run.bytes.slice_ref(record.bytes()) };
    records.map(stored).collect()
}
