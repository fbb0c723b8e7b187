//! What a session makes of its log: records, changes of the replica set, trims, repairs.

use crate::id::{IdRange, Mark, SessionId, TransactionId};
use crate::journal::{Entry, EntryHead};
use crate::log::SetChange;
use crate::planted::{Planted, PlantedBug};
use crate::record::Run;
use crate::wire::ReplicaAnswer;

use super::{Decision, Hosted, Refusal};
use crate::storage::ranges::{RangeMap, named_ranges};

impl Hosted {
    /// Takes the next change of the replica set; a repeat changes nothing.
    pub(super) fn on_change(
        &self,
        session: SessionId,
        change: SetChange,
    ) -> Result<Decision, Refusal> {
        let own = self.replica.summary();
        let at = change.position();
        if let Some(known) = own.set_at(change.version) {
            return match *known == change {
                true => Ok(Decision::answer(ReplicaAnswer::Changed { at })),
                false => Err(Refusal::OtherChange { version: change.version }),
            };
        }
        let adopted = self.adopted.as_ref();
        let chosen = adopted.is_some_and(|chosen| chosen.sets.contains(&change))
            && change.session >= own.latest_session();
        let fresh = self.replica.joined(session) && change.session == Some(session);
        if !(chosen || fresh) || !change.replicas.is_sound() {
            return Err(Refusal::NotChosenChange { version: change.version });
        }
        if (change.at, change.version) != (own.last, own.set().version.next()) {
            return Err(Refusal::ChangeElsewhere { at, own: own.position() });
        }
        let head = EntryHead::Change { partition: self.replica.partition(), change };
        Ok(Decision::control(Some(head), Some(ReplicaAnswer::Changed { at })))
    }

    /// Takes what is new of a run. The answer names the run's end, even where the log already
    /// reaches further: what a lost connection still delivers late must not surprise the server.
    pub(super) fn on_append(&self, run: &Run, committed: Mark) -> Result<Decision, Refusal> {
        let before = self.replica.last();
        if before.includes(run.first)
            && self.replica.summary().session_at(run.first) != Some(run.session)
        {
            return Err(Refusal::OtherSession { first: run.first });
        }
        let end = before.max(run.last());
        let low_water = self.replica.low_water().max(committed.min(end));
        let entry = self.unknown_part(run, low_water).or_else(|| self.raised(low_water));
        let acked = ReplicaAnswer::Acked { last: run.last() };
        Ok(Decision::Durably { entry, answer: Some(acked) })
    }

    pub(super) fn on_commit(
        &self,
        session: SessionId,
        committed: Mark,
    ) -> Result<Decision, Refusal> {
        self.check_joined(session)?;
        let entry = self.raised(committed.min(self.replica.last()));
        Ok(Decision::Durably { entry, answer: None })
    }

    /// Trims as far as this replica knows its log to be committed.
    pub(super) fn on_trim(
        &self,
        session: SessionId,
        start: Mark,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        self.check_joined(session)?;
        let start = start.min(self.replica.trimmable(planted));
        let head = EntryHead::Trim { partition: self.replica.partition(), start };
        let entry = (start > self.replica.summary().start).then_some(head);
        Ok(Decision::control(entry, None))
    }

    /// Takes records again that can't be read here. Those that the log no longer has don't matter,
    /// and of the others only what is between the first and the last unreadable one is written.
    pub(super) fn on_repair(
        &self,
        session: SessionId,
        mut run: Run,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        let own = self.replica.summary();
        if self.adopted.is_none() {
            self.check_joined(session)?;
        }
        let (kept, last) = (own.start.next(), own.last.min(run.last()));
        if let Some(part) = run.slice(kept, last) {
            let wrote = own.session_at(part.first);
            if planted.has(PlantedBug::RepairUnchecked) {
                run.session = wrote.unwrap_or(run.session);
            }
            let same = |id: TransactionId| own.session_at(id) == Some(run.session);
            if !same(part.first) || !part.last().id().is_some_and(same) {
                return Err(Refusal::OtherSession { first: part.first });
            }
        }
        let mut left = self.unrepaired();
        let wanted = self.lost_part(&run, &left);
        if let Some(part) = &wanted {
            left.remove(IdRange {
                first: part.first,
                last: TransactionId(part.last().count() - 1),
            });
        }
        let entry = wanted.map(|Run { session, first, count, bytes }| {
            let partition = self.replica.partition();
            Entry { head: EntryHead::Repair { partition, session, first, count }, body: bytes }
        });
        let ranges = named_ranges(&left);
        Ok(Decision::Durably { entry, answer: Some(ReplicaAnswer::Damaged { ranges }) })
    }

    /// The part of a run from the first of its records that can't be read here to the last one.
    fn lost_part(&self, run: &Run, lost: &RangeMap<()>) -> Option<Run> {
        let mut within = lost.clone();
        within.cut(run.last());
        within.trim(Mark::before(run.first));
        let (first, _) = within.iter().next()?;
        let (last, _) = within.iter().last()?;
        run.slice(first.first, Mark::at(last.last))
    }
}
