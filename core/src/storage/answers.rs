//! Answers that wait for the disk: one queue, in ticket order.
//!
//! An answer waits behind the newest ticket of its time, so that everything it speaks of is
//! durable when it leaves. One of a session that was overtaken meanwhile leaves as `Fenced`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::io::{Caller, Ticket};
use crate::wire::ReplicaAnswer;

use super::{Asker, StorageReply};

/// What becomes of an answer that waited, once all that it speaks of is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves, for this asker.
    Leaves(Asker),
    /// Its session was overtaken by this one.
    Fenced(SessionId),
    /// It waits for what comes next: the bug `StaleCompletion`.
    Late,
}

/// The queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Answers {
    waiting: VecDeque<(Ticket, Asker, ReplicaAnswer)>,
    newest: Ticket,
    durable: Ticket,
}

impl Answers {
    /// An entry was given to the journal: later answers wait for it.
    pub(super) fn appended(&mut self, ticket: Ticket) {
        assert!(ticket > self.newest, "tickets grow");
        self.newest = ticket;
    }

    /// Sends an answer as soon as everything appended so far is durable.
    pub(super) fn wait(
        &mut self,
        asker: Asker,
        answer: ReplicaAnswer,
        replies: &mut Vec<StorageReply>,
    ) {
        if self.newest <= self.durable {
            replies.push(asker.reply(answer));
        } else {
            self.waiting.push_back((self.newest, asker, answer));
        }
    }

    /// Everything up to a ticket is durable: sends what waited for it, as `judge` says of each.
    pub(super) fn release(
        &mut self,
        up_to: Ticket,
        judge: impl Fn(&Asker) -> Fate,
        replies: &mut Vec<StorageReply>,
    ) {
        assert!(up_to >= self.durable, "durability never goes back");
        self.durable = up_to;
        let mut late = Vec::new();
        while let Some((_, asker, answer)) = self.waiting.pop_front_if(|(at, ..)| *at <= up_to) {
            let reply = match judge(&asker) {
                Fate::Leaves(asker) => asker.reply(answer),
                Fate::Fenced(promise) => asker.reply(ReplicaAnswer::Fenced { promise }),
                Fate::Late => {
                    late.push((self.newest, asker, answer));
                    continue;
                }
            };
            match replies.last_mut() {
                Some(earlier) if supersedes(&reply, earlier) => *earlier = reply,
                _ => replies.push(reply),
            }
        }
        self.waiting.extend(late);
    }

    /// Drops what waits for a caller that is gone.
    pub(super) fn forget(&mut self, caller: Caller) {
        self.waiting.retain(|(_, asker, _)| asker.to != caller);
    }
}

/// Whether a reply says all that an earlier one does: one sync acknowledges many appends at once.
fn supersedes(later: &StorageReply, earlier: &StorageReply) -> bool {
    use ReplicaAnswer::{Acked, Fenced};
    let same_kind = match (&later.message.answer, &earlier.message.answer) {
        (Acked { last: later }, Acked { last: earlier }) => later >= earlier,
        (Fenced { promise: later }, Fenced { promise: earlier }) => later >= earlier,
        _ => false,
    };
    same_kind
        && later.to == earlier.to
        && later.message.partition == earlier.message.partition
        && later.message.session == earlier.message.session
}
