//! What servers and the feed decide: what was sent is committed, or lost, or refused, or conflicts.
//! Contexts are executed again where that can help; appends, tried once, fail.

use std::ops::Range;
use std::time::Duration;

use crate::client::base::Base;
use crate::client::call::{CallId, Conflict, Failure, Resolution};
use crate::client::io::ClientEffect;
use crate::id::{Mark, TransactionId};
use crate::planted::PlantedBug;
use crate::wire::AppendRefusal;

use super::{Attempt, Kind, Outstanding, Waiting, Window};

/// How long a refusal for want of room holds a context back.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

impl Window {
    /// A ReqId of the own id came by. Everything sent before it, of the same mount, is not in the
    /// log. The call, unless it was given up before.
    pub(in crate::client::partition) fn committed(
        &mut self,
        base: &mut Base,
        sequence: u64,
        id: TransactionId,
    ) -> Option<CallId> {
        let index = self.outstanding.binary_search_by_key(&sequence, |one| one.sequence);
        let Ok(index) = index else {
            // Another client of this id sent it, or it has ended in doubt.
            self.doubts.passed(base, sequence, id);
            return None;
        };
        let lost = self.decide_all(base, 0..index);
        let found = self.outstanding.pop_front();
        let found = found.and_then(|one| self.decide(base, one, Resolution::Committed(id)));
        if let Some(attempt) = &found {
            self.forget_deadline(attempt);
        }
        self.doubts.passed(base, sequence, id);
        self.progress = base.now;
        self.retry_all(base, lost);
        found.map(|attempt| attempt.call)
    }

    /// A newer mount is ready: what is outstanding from before it is not in the log.
    pub(in crate::client::partition) fn settle(&mut self, base: &mut Base) {
        let lost = self.decide_all(base, 0..self.outstanding.len());
        self.doubts.settled(base);
        self.retry_all(base, lost);
        let blocked = std::mem::take(&mut self.blocked);
        self.wait_again(base, blocked.into_values());
        if !base.config.planted.has(PlantedBug::DuplicateRequest) {
            self.draw_sequences(base);
        }
    }

    pub(in crate::client::partition) fn conflict(
        &mut self,
        base: &mut Base,
        sequence: u64,
        conflict: Conflict,
        applied: Mark,
    ) {
        let Some(one) = self.take_outstanding(sequence) else { return };
        self.progress = base.now;
        let Some(attempt) = self.decide(base, one, Resolution::NotCommitted) else { return };
        if attempt.kind == Kind::Append {
            self.fail(base, &attempt, Failure::Conflict(conflict));
            return;
        }
        base.push(ClientEffect::LockFailed { call: attempt.call, conflict });
        let Some(attempt) = self.one_more(base, attempt, || Failure::Conflict(conflict)) else {
            return;
        };
        if applied.includes(conflict.id) {
            self.wait_again(base, [attempt]);
        } else {
            self.blocked.insert((conflict.id, attempt.call), attempt);
        }
    }

    pub(in crate::client::partition) fn refused(
        &mut self,
        base: &mut Base,
        first: u64,
        last: u64,
        reason: &AppendRefusal,
    ) {
        let mut lost = Vec::new();
        let start = self.outstanding.partition_point(|one| one.sequence < first);
        let end = self.outstanding.partition_point(|one| one.sequence <= last).max(start);
        let refused = self.decide_all(base, start..end);
        self.progress = base.now;
        for attempt in refused {
            match (reason, attempt.kind) {
                (AppendRefusal::Stale, _) => lost.push(attempt),
                (AppendRefusal::Busy, Kind::Context) => {
                    let busy = || Failure::Refused(AppendRefusal::Busy);
                    if let Some(attempt) = self.one_more(base, attempt, busy) {
                        let until = base.now + base.random.between(BUSY_PAUSE / 2, BUSY_PAUSE);
                        self.paused.push_back((until, attempt));
                        base.wake_by(until);
                    }
                }
                (
                    AppendRefusal::Busy
                    | AppendRefusal::Limit(_)
                    | AppendRefusal::Ahead { .. }
                    | AppendRefusal::Access(_)
                    | AppendRefusal::Full,
                    _,
                ) => {
                    self.fail(base, &attempt, Failure::Refused(reason.clone()));
                }
            }
        }
        self.retry_all(base, lost);
    }

    /// What waited for a transaction to be applied goes on.
    pub(in crate::client::partition) fn applied(&mut self, base: &mut Base, applied: Mark) {
        let mut released = Vec::new();
        while let Some(first) = self.blocked.first_entry() {
            if !applied.includes(first.key().0) {
                break;
            }
            released.push(first.remove());
        }
        self.wait_again(base, released);
    }

    /// Contexts are executed again; appends, tried once, fail.
    fn retry_all(&mut self, base: &mut Base, lost: Vec<Attempt>) {
        let mut again = Vec::with_capacity(lost.len());
        for attempt in lost {
            match attempt.kind {
                Kind::Append => self.fail(base, &attempt, Failure::Lost),
                Kind::Context => {
                    if let Some(attempt) = self.one_more(base, attempt, || Failure::Lost) {
                        base.push(ClientEffect::Lost { call: attempt.call });
                        again.push(attempt);
                    }
                }
            }
        }
        self.wait_again(base, again);
    }

    /// The attempt with one retry less; it ends when none is left.
    fn one_more(
        &mut self,
        base: &mut Base,
        mut attempt: Attempt,
        failure: impl FnOnce() -> Failure,
    ) -> Option<Attempt> {
        match &mut attempt.retries {
            Some(0) => {
                self.fail(base, &attempt, failure());
                return None;
            }
            Some(retries) => *retries -= 1,
            None => {}
        }
        Some(attempt)
    }

    /// Contexts that were executed before go first, in their order.
    pub(super) fn wait_again(
        &mut self,
        base: &Base,
        attempts: impl IntoIterator<Item = Attempt, IntoIter: DoubleEndedIterator>,
    ) {
        for mut attempt in attempts.into_iter().rev() {
            attempt.since = base.now;
            self.waiting.push_front(Waiting::Execute(attempt));
        }
    }

    /// What was outstanding is decided; what is still wanted of it.
    fn decide(
        &mut self,
        base: &mut Base,
        one: Outstanding,
        resolution: Resolution,
    ) -> Option<Attempt> {
        if one.given_up {
            self.doubts.decide(base, one.sequence, resolution);
            return None;
        }
        Some(one.attempt)
    }

    /// These outstanding ones are not in the log and never will be; what is still wanted of them.
    fn decide_all(&mut self, base: &mut Base, range: Range<usize>) -> Vec<Attempt> {
        let decided: Vec<_> = self.outstanding.drain(range).collect();
        let attempts = decided.into_iter();
        attempts.filter_map(|one| self.decide(base, one, Resolution::NotCommitted)).collect()
    }

    fn take_outstanding(&mut self, sequence: u64) -> Option<Outstanding> {
        let index = self.outstanding.binary_search_by_key(&sequence, |one| one.sequence).ok()?;
        self.outstanding.remove(index)
    }
}
