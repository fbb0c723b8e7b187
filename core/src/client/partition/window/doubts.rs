//! What became of attempts that were given up after they were sent. Who asks waits until it is
//! decided; what was decided is remembered for a while, for those who ask later.

use std::collections::BTreeMap;

use crate::client::base::Base;
use crate::client::call::{Answer, CallId, InDoubt, Resolution, Unanswered};
use crate::id::{Mark, TransactionId};
use crate::time::Time;

/// Most decisions remembered for each partition.
const REMEMBERED: usize = 16_384;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Doubts {
    /// By sequence.
    decided: BTreeMap<u64, Resolution>,
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
        self.decided.get(&sequence).copied()
    }

    pub(super) fn ask(&mut self, base: &mut Base, call: CallId, in_doubt: &InDoubt) {
        let deadline = base.now + base.config.request_timeout;
        base.wake_by(deadline);
        let asked = Asked { mark: in_doubt.mark, deadline };
        self.asked.insert((in_doubt.req_id.sequence, call), asked);
    }

    /// It is known what became of an attempt that was given up.
    pub(super) fn decide(&mut self, base: &mut Base, sequence: u64, resolution: Resolution) {
        self.decided.insert(sequence, resolution);
        while self.decided.len() > REMEMBERED {
            self.decided.pop_first();
        }
        let askers = (sequence, CallId(0))..=(sequence, CallId(u64::MAX));
        for (_, call) in self.asked.extract_if(askers, |_, _| true).map(|(key, _)| key) {
            base.answer(call, Ok(Answer::Resolved(resolution)));
        }
    }

    /// An own ReqId came by: earlier ones that have not will not.
    pub(super) fn passed(&mut self, base: &mut Base, sequence: u64, id: TransactionId) {
        while let Some(entry) = self.asked.first_entry()
            && entry.key().0 <= sequence
        {
            let (asked, call) = entry.remove_entry().0;
            let resolution = match asked == sequence {
                true => Resolution::Committed(id),
                false => Resolution::NotCommitted,
            };
            base.answer(call, Ok(Answer::Resolved(resolution)));
        }
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
