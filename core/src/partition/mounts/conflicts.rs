//! Conflicts held back until what caused them is committed: a record that is cut must not leave a
//! client waiting for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MountName, Mounts, MountsOutput, Outputs, reply};
use crate::id::{Mark, PartitionId, TransactionId};
use crate::lock::LockId;
use crate::locks::LockConflict;
use crate::wire::{AppendRefusal, ServerReply};

/// The held conflicts, by what caused them.
///
/// Those of ended mounts stay until their time comes and are then dropped. They do not pile up:
/// a client's next mount holds none before it is ready, and that is not before everything numbered
/// earlier is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Conflicts {
    held: BTreeMap<TransactionId, Vec<Held>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    name: MountName,
    sequence: u64,
    lock: LockId,
    exact: bool,
}

impl Conflicts {
    fn pop_committed(&mut self, committed: Mark) -> Option<(TransactionId, Vec<Held>)> {
        let first = self.held.first_entry().filter(|entry| committed.includes(*entry.key()))?;
        Some(first.remove_entry())
    }
}

impl Mounts {
    /// An append of a mount conflicts: the client is told once what caused it is committed.
    pub fn conflict(
        &mut self,
        name: MountName,
        sequence: u64,
        conflict: LockConflict,
        out: &mut Outputs,
    ) {
        let LockConflict { id, lock, exact } = conflict;
        let (partition, most) = (self.partition, self.config.held_conflicts);
        let held = Held { name, sequence, lock, exact };
        let is_committed = self.committed.includes(id);
        match self.mount_named(name) {
            None => out.push(refused(partition, name, sequence, AppendRefusal::Stale)),
            Some(_) if is_committed => out.push(held.told(partition, id)),
            Some(mount) if mount.held >= most => {
                out.push(refused(partition, name, sequence, AppendRefusal::Busy));
            }
            Some(mount) => {
                mount.held += 1;
                self.conflicts.held.entry(id).or_default().push(held);
            }
        }
    }

    /// Tells the conflicts whose causes are committed by now.
    pub(super) fn tell_conflicts(&mut self, out: &mut Outputs) {
        while let Some((id, conflicts)) = self.conflicts.pop_committed(self.committed) {
            for held in conflicts {
                if let Some(mount) = self.mount_named(held.name) {
                    mount.held -= 1;
                    out.push(held.told(self.partition, id));
                }
            }
        }
    }
}

impl Held {
    fn told(self, partition: PartitionId, id: TransactionId) -> MountsOutput {
        let Self { name, sequence, lock, exact } = self;
        let conflict =
            ServerReply::Conflict { partition, mount: name.mount, sequence, id, lock, exact };
        reply(name.conn, conflict)
    }
}

fn refused(
    partition: PartitionId,
    name: MountName,
    sequence: u64,
    reason: AppendRefusal,
) -> MountsOutput {
    let refused = ServerReply::AppendRefused {
        partition,
        mount: name.mount,
        first: sequence,
        last: sequence,
        reason,
    };
    reply(name.conn, refused)
}
