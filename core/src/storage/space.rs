//! A full disk: no more records are taken until there is room again.
//!
//! The journal says so while there is still room for control entries, so that sessions, trims and
//! the checkpoints that give space back go on. Servers are told at once; what they had sent by then
//! is out of place, and comes again when there is room.
//!
//! A partition may also have a quota. Servers go by it, and nothing is refused here for it: a replica
//! that was refused what others have could fall behind for good.

use super::{Asker, Storage, StorageReply};
use crate::id::PartitionId;
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
        let told = self.hosted.values().filter_map(|hosted| hosted.told());
        replies.extend(told.map(|asker| asker.reply(ReplicaAnswer::Space { is_full })));
    }

    /// Tells a session that begins to ask that there is no room, if there is none.
    pub(super) fn tell_space(&self, asker: Asker, replies: &mut Vec<StorageReply>) {
        let hosted = self.hosted.get(&asker.partition);
        let promised = hosted.filter(|hosted| hosted.replica.promise() == Some(asker.session));
        let Some(hosted) = promised else { return };
        if self.is_full {
            replies.push(asker.reply(ReplicaAnswer::Space { is_full: true }));
        }
        if hosted.is_over_quota() {
            replies.push(asker.reply(ReplicaAnswer::Quota { is_over: true }));
        }
    }

    /// A partition has more records than before, or fewer: its session hears whether it may have
    /// more.
    pub(super) fn weigh(
        &mut self,
        cx: &mut Context<'_>,
        partition: PartitionId,
        replies: &mut Vec<StorageReply>,
    ) {
        let quota = self.moves.quota_bytes();
        let Some(hosted) = self.hosted.get_mut(&partition) else { return };
        if !hosted.weigh(quota) {
            return;
        }
        let is_over = hosted.is_over_quota();
        let (level, text) = match is_over {
            true => (Level::Warning, format!("it has come to its quota of {quota} bytes: trim it")),
            false => (Level::Info, "it is below its quota again".to_owned()),
        };
        cx.report(level, Some(partition), text);
        let told = hosted.told();
        replies.extend(told.map(|asker| asker.reply(ReplicaAnswer::Quota { is_over })));
    }
}
