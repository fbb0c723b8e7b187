//! Promise 2: a committed transaction is on a quorum when it is reported, no cut ever leaves it on
//! less, and it survives the loss of any minority of replicas and any crash of all.

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let quorum = evidence.plan.shape.quorum();
    let holds = |((partition, id), shown): &(
        &(_, waltz_core::id::TransactionId),
        &crate::witness::Shown,
    )| {
        let copies = evidence.logs.values().filter(|logs| {
            let stored = logs.get(partition).and_then(|log: &Vec<_>| log.get(id.0 as usize));
            stored.is_some_and(|stored| stored.record().req_id() == shown.req_id)
        });
        copies.count() >= quorum
    };
    let lost = evidence.shown.iter().filter(|shown| !holds(shown));
    lost.map(|((partition, id), shown)| {
        format!(
            "{partition} {id} ({}) was committed and is on fewer than {quorum} disks",
            shown.req_id
        )
    })
    .collect()
}
