//! Before a session's log is its own: the choice is adopted, what lacks is copied, and the log that
//! equals the choice joins.

use crate::id::{Mark, Position, SessionId};
use crate::journal::EntryHead;
use crate::log::LogSummary;
use crate::planted::{Planted, PlantedBug};
use crate::record::Run;
use crate::wire::ReplicaAnswer;

use super::{Decision, Hosted, Refusal};
use crate::storage::ranges::named_ranges;

impl Hosted {
    /// Cuts exactly what differs from the chosen log; starts over where the chosen log starts if
    /// this one ends before. A joined replica has nothing to cut: it says how much of the chosen
    /// log it has, and goes on from there. A chosen log may be told again, or told longer.
    /// One told shorter was on its way before.
    pub(super) fn on_adopt(
        &mut self,
        session: SessionId,
        chosen: LogSummary,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        let (latest, goal) = (chosen.latest_session(), chosen.position());
        if !chosen.is_sound() || latest > Some(session) {
            return Err(Refusal::Unsound);
        }
        if self.adopted.as_ref().is_some_and(|before| goal < before.position()) {
            return Err(Refusal::Late);
        }
        let own = self.replica.summary();
        let Some(keep) = own.common(&chosen) else {
            return self.on_other_start(session, chosen);
        };
        if self.replica.joined(session) {
            if keep != own.position().min(goal) {
                return Err(Refusal::AlreadyJoined);
            }
            self.adopted = Some(Box::new(chosen));
            return Ok(self.adopted(keep, None));
        }
        self.check_choice(&chosen)?;
        let low_water = self.replica.low_water();
        if keep.last < low_water {
            return Err(Refusal::BelowLowWater { keep: keep.last, low_water });
        }
        let keep = match planted.has(PlantedBug::CutToLowWater) {
            true => own.position_at(keep.last.min(low_water.max(own.start))).min(keep),
            false => keep,
        };
        let keeps_tail = planted.has(PlantedBug::KeepLongerTail) && keep == goal;
        let partition = self.replica.partition();
        let differs = own.position() > keep && !keeps_tail;
        let cut = differs.then_some(EntryHead::Cut { partition, keep });
        self.adopted = Some(Box::new(chosen));
        match planted.has(PlantedBug::JoinAnywhere) {
            true => Ok(self.adopted(goal, cut)),
            false => Ok(self.adopted(keep, cut)),
        }
    }

    /// The log and the chosen one have nothing in common that both still keep: this one ends before
    /// the chosen one's start, and so holds nothing that was not trimmed there, but for records
    /// that were never committed.
    fn on_other_start(
        &mut self,
        session: SessionId,
        chosen: LogSummary,
    ) -> Result<Decision, Refusal> {
        let (low_water, start) = (self.replica.low_water(), chosen.start);
        let fresh = self.replica.last() == Mark::NONE && self.replica.normal().is_none();
        if low_water > start || !fresh && start == Mark::NONE {
            return Err(Refusal::BelowLowWater { keep: start, low_water });
        }
        match self.replica.joined(session) {
            true if self.replica.last() >= start => return Err(Refusal::AlreadyJoined),
            true => {}
            false => self.check_choice(&chosen)?,
        }
        let (partition, base) = (self.replica.partition(), chosen.base());
        let at = base.position();
        self.adopted = Some(Box::new(chosen));
        let adopted = ReplicaAnswer::Adopted { at, damaged: Vec::new() };
        Ok(Decision::control(Some(EntryHead::Reset { partition, base }), Some(adopted)))
    }

    /// A session chooses once: what it tells later is the same log, perhaps longer, perhaps trimmed.
    fn check_choice(&self, chosen: &LogSummary) -> Result<(), Refusal> {
        let Some(before) = &self.adopted else { return Ok(()) };
        let is_told_again = match before.common(chosen) {
            Some(at) => at == before.position(),
            None => before.last < chosen.start,
        };
        if is_told_again { Ok(()) } else { Err(Refusal::OtherChoice) }
    }

    fn adopted(&self, at: Position, change: Option<EntryHead>) -> Decision {
        let mut damaged = self.unrepaired();
        damaged.cut(at.last);
        let damaged = named_ranges(&damaged);
        Decision::control(change, Some(ReplicaAnswer::Adopted { at, damaged }))
    }

    /// Takes what is new of a part of the chosen log, as its own session's.
    pub(super) fn on_copy(
        &self,
        session: SessionId,
        run: &Run,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        let chosen = self.adopted.as_ref().ok_or(Refusal::NotAdopted)?;
        let own = self.replica.summary();
        let change = chosen.change_after(own.set().version);
        if let Some(change) = change.filter(|change| run.last() > change.at) {
            return Err(Refusal::ChangeFirst { version: change.version, at: change.at });
        }
        let wrote = |id| chosen.session_at(id) == Some(run.session);
        // A session that went on after it had joined has a log that is no part of the choice.
        let follows = Some(run.session) >= own.latest_session();
        if !wrote(run.first) || !run.last().id().is_some_and(wrote) || !follows {
            return Err(Refusal::NotChosen { first: run.first });
        }
        let origin = match planted.has(PlantedBug::CopyAsOwn) {
            true => session,
            false => run.session,
        };
        let run = Run { session: origin, ..run.clone() };
        let entry = self.unknown_part(&run, self.replica.low_water());
        let copied = ReplicaAnswer::Copied { last: run.last() };
        Ok(Decision::Durably { entry, answer: Some(copied) })
    }

    /// Joins a log that equals the chosen one and can be read; a repeat changes nothing.
    pub(super) fn on_join(
        &mut self,
        session: SessionId,
        at: Position,
        planted: Planted,
    ) -> Result<Decision, Refusal> {
        let own = self.replica.summary().position();
        if self.replica.joined(session) {
            if at > own {
                return Err(Refusal::JoinElsewhere { at, own, chosen: own });
            }
            self.adopted = None;
            return Ok(Decision::answer(ReplicaAnswer::Joined));
        }
        let chosen = self.adopted.as_ref().ok_or(Refusal::NotAdopted)?.position();
        let equals = at == own
            || at < own && planted.has(PlantedBug::KeepLongerTail)
            || planted.has(PlantedBug::JoinAnywhere);
        if at != chosen || !equals {
            return Err(Refusal::JoinElsewhere { at, own, chosen });
        }
        if let Some((first, ())) = self.unrepaired().iter().next() {
            return Err(Refusal::Damaged { first });
        }
        let head = EntryHead::Join { partition: self.replica.partition(), session };
        Ok(Decision::control(Some(head), Some(ReplicaAnswer::Joined)))
    }
}
