//! What became of attempts that were given up after they were sent. Who asks waits until it is
//! decided; what was decided is remembered for a while, for those who ask later.

use std::collections::{BTreeMap, VecDeque};

use crate::client::base::Base;
use crate::client::call::{Answer, CallId, InDoubt, Resolution, Unanswered};
use crate::id::{Mark, TransactionId};
use crate::planted::PlantedBug;
use crate::time::Time;

/// Most decisions remembered for each partition.
const REMEMBERED: usize = 16_384;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Doubts {
    /// By sequence, the newest last.
    decided: VecDeque<(u64, Resolution)>,
    /// By the sequence asked about, and who asks.
    asked: BTreeMap<(u64, CallId), Asked>,
}

/// A question that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    mark: Mark,
    deadline: Time,
}

impl Doubts {
    pub(super) fn remembered(&self, sequence: u64) -> Option<Resolution> {
        let decided = self.decided.iter().rev().find(|(decided, _)| *decided == sequence);
        decided.map(|(_, resolution)| *resolution)
    }

    pub(super) fn ask(&mut self, base: &mut Base, call: CallId, in_doubt: &InDoubt) {
        if base.config.planted.has(PlantedBug::ResolveUndecided) {
            return base.answer(call, Ok(Answer::Resolved(Resolution::NotCommitted)));
        }
        let deadline = base.now + base.config.request_timeout;
        base.wake_by(deadline);
        let asked = Asked { mark: in_doubt.mark, deadline };
        self.asked.insert((in_doubt.req_id.sequence, call), asked);
    }

    /// It is known what became of an attempt that was given up.
    pub(super) fn decide(&mut self, base: &mut Base, sequence: u64, resolution: Resolution) {
        self.decided.push_back((sequence, resolution));
        if self.decided.len() > REMEMBERED {
            self.decided.pop_front();
        }
        self.answer_askers(base, sequence, resolution);
    }

    fn answer_askers(&mut self, base: &mut Base, sequence: u64, resolution: Resolution) {
        let askers = (sequence, CallId(0))..=(sequence, CallId(u64::MAX));
        for (_, call) in self.asked.extract_if(askers, |_, _| true).map(|(key, _)| key) {
            base.answer(call, Ok(Answer::Resolved(resolution)));
        }
    }

    /// A ReqId of the own id came by. It says nothing of others that are asked about and not
    /// outstanding: they may be of another mount, which has sent later ones since.
    pub(super) fn passed(&mut self, base: &mut Base, sequence: u64, id: TransactionId) {
        self.answer_askers(base, sequence, Resolution::Committed(id));
    }

    /// A newer mount is ready: what has not come by is not in the log.
    pub(super) fn settled(&mut self, base: &mut Base) {
        for ((_, call), _) in std::mem::take(&mut self.asked) {
            base.answer(call, Ok(Answer::Resolved(Resolution::NotCommitted)));
        }
    }

    /// The feed starts after `mark`: what is asked about may be before it.
    pub(super) fn start(&mut self, base: &mut Base, mark: Mark) {
        let missed = self.asked.extract_if(.., |_, asked| asked.mark < mark);
        for (_, call) in missed.map(|(key, _)| key) {
            base.answer(call, Err(Unanswered::Forgotten));
        }
    }

    /// Nothing more will come by.
    pub(super) fn end(&mut self, base: &mut Base, why: &Unanswered) {
        for ((_, call), _) in std::mem::take(&mut self.asked) {
            base.answer(call, Err(why.clone()));
        }
    }

    pub(super) fn on_timer(&mut self, base: &mut Base, why: &str) {
        let now = base.now;
        let due = self.asked.extract_if(.., |_, asked| asked.deadline <= now);
        for (_, call) in due.map(|(key, _)| key) {
            base.answer(call, Err(Unanswered::TimedOut(why.to_owned())));
        }
        if let Some(deadline) = self.asked.values().map(|asked| asked.deadline).min() {
            base.wake_by(deadline);
        }
    }
}
