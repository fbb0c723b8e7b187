//! A full disk: no more records are taken until there is room again.
//!
//! The journal says so while there is still room for control entries, so that sessions, trims and
//! the checkpoints that give space back go on. Servers are told at once; what they had sent by then
//! is out of place, and comes again when there is room.

use super::decide::Hosted;
use super::{Asker, Storage, StorageReply};
use crate::io::{Context, Level};
use crate::wire::ReplicaAnswer;

impl Storage {
    /// The disk has no room for the journal's next segment, or has again.
    pub fn on_space(
        &mut self,
        cx: &mut Context<'_>,
        is_full: bool,
        replies: &mut Vec<StorageReply>,
    ) {
        if std::mem::replace(&mut self.is_full, is_full) == is_full {
            return;
        }
        let (level, text) = match is_full {
            true => (
                Level::Error,
                "the disk is full: no more records are taken; trim partitions, or give the disk \
                 more space",
            ),
            false => (Level::Info, "the disk has room again: records are taken"),
        };
        cx.report(level, None, text.to_owned());
        self.go_on_moving(cx);
        let told = self.hosted.values().filter_map(Hosted::told);
        replies.extend(told.map(|asker| asker.reply(ReplicaAnswer::Space { is_full })));
    }

    /// Tells a session that begins to ask that there is no room, if there is none.
    pub(super) fn tell_space(&self, asker: Asker, replies: &mut Vec<StorageReply>) {
        let promise = self.hosted.get(&asker.partition).and_then(|hosted| hosted.replica.promise());
        if self.is_full && promise == Some(asker.session) {
            replies.push(asker.reply(ReplicaAnswer::Space { is_full: true }));
        }
    }
}
