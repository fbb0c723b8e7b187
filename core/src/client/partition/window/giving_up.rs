//! How calls end without an answer: their time is over, they are withdrawn, their mount does not
//! come, or everything ends. What was sent ends in doubt, what was not has failed for certain.

use std::collections::VecDeque;

use crate::client::base::Base;
use crate::client::call::{Answer, CallId, Ending, Failure, InDoubt, Resolution, Unanswered};
use crate::id::ReqId;
use crate::planted::PlantedBug;
use crate::time::Time;

use super::{Attempt, Outstanding, Window};

impl Window {
    /// Ends what the application gives up, and what waited for its mount too long. `unready`:
    /// since when there is no gate, and why.
    pub(in crate::client::partition) fn on_timer(
        &mut self,
        base: &mut Base,
        unready: Option<(Time, &str)>,
    ) {
        while let Some((until, _)) = self.paused.front() {
            if *until > base.now {
                base.wake_by(*until);
                break;
            }
            let due = self.paused.pop_front().map(|(_, attempt)| attempt);
            self.wait_again(base, due);
        }
        while let Some((deadline, call)) = self.deadlines.first().copied() {
            if deadline > base.now {
                base.wake_by(deadline);
                break;
            }
            self.deadlines.remove(&(deadline, call));
            let pending = self.give_up(base, call, Failure::Deadline);
            assert!(pending, "a call with a deadline has not ended");
        }
        let undecided = unready.map_or("it is not decided yet", |(_, why)| why);
        self.doubts.on_timer(base, undecided);
        if let Some((since, why)) = unready {
            self.expire_unmounted(base, since, why);
        }
    }

    fn expire_unmounted(&mut self, base: &mut Base, unready_since: Time, why: &str) {
        let timeout = base.config.mount_timeout;
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            let due = waiting.attempt().since.max(unready_since) + timeout;
            if due <= base.now {
                let failure = Failure::MountTimeout(why.to_owned());
                self.fail(base, waiting.attempt(), failure);
            } else {
                base.wake_by(due);
                kept.push_back(waiting);
            }
        }
        self.waiting = kept;
    }

    /// The application no longer waits for a call: what was sent ends in doubt and is not sent
    /// again, what was not never will be. `false`: it has ended before.
    pub(in crate::client::partition) fn give_up(
        &mut self,
        base: &mut Base,
        call: CallId,
        failure: Failure,
    ) -> bool {
        let sent = self.outstanding.iter_mut().find(|one| one.attempt.call == call);
        if let Some(one) = sent {
            let first = !std::mem::replace(&mut one.given_up, true);
            if first {
                let given_up = *one;
                let certain = base.config.planted.has(PlantedBug::WithdrawSent);
                if certain && failure == Failure::Cancelled {
                    self.fail(base, &given_up.attempt, failure);
                } else {
                    self.end_in_doubt(base, &given_up);
                }
            }
            return first;
        }
        let Some(attempt) = self.take_unsent(call) else { return false };
        self.fail(base, &attempt, failure);
        true
    }

    fn take_unsent(&mut self, call: CallId) -> Option<Attempt> {
        let waiting = self.waiting.iter().position(|one| one.attempt().call == call);
        let paused = self.paused.iter().position(|(_, attempt)| attempt.call == call);
        let blocked = self.blocked.keys().find(|(_, blocked)| *blocked == call).copied();
        if let Some(index) = waiting {
            self.waiting.remove(index).map(|one| *one.attempt())
        } else if let Some(index) = paused {
            self.paused.remove(index).map(|(_, attempt)| attempt)
        } else if let Some(key) = blocked {
            self.blocked.remove(&key)
        } else {
            self.executing.remove(&call).map(|(attempt, _)| attempt)
        }
    }

    fn end_in_doubt(&mut self, base: &mut Base, one: &Outstanding) {
        let req_id = ReqId {
            client: base.id,
            generation: one.generation,
            partition: self.partition,
            sequence: one.sequence,
        };
        let cluster = base.cluster.expect("what was sent was sent to a cluster");
        let in_doubt = InDoubt { cluster, req_id, mark: self.seen };
        self.end(base, &one.attempt, Ending::InDoubt(in_doubt));
    }

    /// Ends everything: what was sent in doubt, the rest as failed.
    pub(in crate::client::partition) fn end_all(&mut self, base: &mut Base, failure: &Failure) {
        let unsent: Vec<_> = (self.waiting.drain(..).map(|one| *one.attempt()))
            .chain(std::mem::take(&mut self.executing).into_values().map(|(attempt, _)| attempt))
            .chain(std::mem::take(&mut self.blocked).into_values())
            .chain(self.paused.drain(..).map(|(_, attempt)| attempt))
            .collect();
        for attempt in unsent {
            self.fail(base, &attempt, failure.clone());
        }
        self.doubt(base);
        let why = match failure {
            Failure::Closed => Unanswered::Closed,
            Failure::AheadOfLog { .. } | Failure::Trimmed { .. } => {
                Unanswered::Broken(self.partition, failure.clone())
            }
            _ => Unanswered::Forgotten,
        };
        self.doubts.end(base, &why);
        self.closed(base);
    }

    /// Tells what became of an attempt that was given up, now or once that is decided. `ready`:
    /// whether a mount has been ready since the feed started.
    pub(in crate::client::partition) fn resolve(
        &mut self,
        base: &mut Base,
        call: CallId,
        in_doubt: &InDoubt,
        ready: bool,
    ) {
        let sequence = in_doubt.req_id.sequence;
        let is_outstanding =
            self.outstanding.binary_search_by_key(&sequence, |one| one.sequence).is_ok();
        if let Some(resolution) = self.doubts.remembered(sequence) {
            base.answer(call, Ok(Answer::Resolved(resolution)));
        } else if is_outstanding {
            self.doubts.ask(base, call, in_doubt);
        } else if self.seen > in_doubt.mark {
            base.answer(call, Err(Unanswered::Forgotten));
        } else if ready {
            base.answer(call, Ok(Answer::Resolved(Resolution::NotCommitted)));
        } else {
            self.doubts.ask(base, call, in_doubt);
        }
    }

    /// Ends what was sent: nobody will tell what became of it.
    pub(in crate::client::partition) fn doubt(&mut self, base: &mut Base) {
        while let Some(one) = self.outstanding.pop_front() {
            if !one.given_up {
                self.end_in_doubt(base, &one);
            }
        }
    }
}
