//! Promise 1: ids of a partition are dense and increasing; an id, once committed, names the same
//! bytes for ever.

use waltz_core::id::Member;

use super::Evidence;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let mut broken = Vec::new();
    for (Member { node, .. }, logs) in &evidence.logs {
        for (partition, log) in logs {
            let misplaced = log.records().find(|(id, stored)| stored.record().id() != *id);
            if let Some((place, stored)) = misplaced {
                let id = stored.record().id();
                broken.push(format!("{node} has {partition} {id} at place {place}"));
            }
        }
    }
    let longest = evidence.longest_logs();
    for ((partition, id), shown) in &evidence.shown {
        let log = longest.get(partition).copied().unwrap_or_default();
        let same = log.get(id.0 as usize).is_some_and(|stored| {
            stored.record().req_id() == shown.req_id && stored.record().data() == shown.data
        });
        if !same {
            broken.push(format!(
                "{partition} {id} was shown as {} and is that no longer",
                shown.req_id
            ));
        }
    }
    broken
}
