//! Promise 2: a committed transaction is on a quorum when it is reported, no cut ever leaves it on
//! less, and it survives the loss of any minority of replicas and any crash of all.
//!
//! The quorum is one of the newest replica set that is durable on a quorum of itself; what was
//! trimmed was on one before.

use super::Evidence;
use crate::replicas::Replicas;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    for ((partition, id), shown) in &evidence.shown {
        let replicas = Replicas::of(&evidence.logs, *partition);
        let (copies, quorum) =
            replicas.copies(*id, |stored| stored.record().req_id() == shown.req_id);
        if copies < quorum {
            broken.push(format!(
                "{partition} {id} ({}) was committed and is on {copies} disks; {quorum} must hold it",
                shown.req_id
            ));
        }
    }
    broken
}
