//! Promise 8: a corrupt byte is never served, voted with, or replicated; what is damaged is
//! reported.
//!
//! Whatever is in a log or was shown is, byte for byte, what an attempt of that operation carried.
//! So a byte that changed anywhere on its way, or at rest, shows.

use std::collections::BTreeMap;

use super::Evidence;
use crate::operations::{ClientHistory, Number};

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    let clients = &evidence.clients;
    let mut broken = Vec::new();
    let mut seen: BTreeMap<u32, bool> = BTreeMap::new();
    let mut is_sound = |data: &[u8]| {
        let checksum = crc32c::crc32c(data);
        *seen.entry(checksum).or_insert_with(|| was_sent(clients, data, checksum))
    };
    for (partition, log) in evidence.longest_logs() {
        for stored in log.iter().filter(|stored| !is_sound(stored.record().data())) {
            broken.push(format!("{partition} {} holds what nobody sent", stored.record().id()));
        }
    }
    for ((partition, id), shown) in &evidence.shown {
        if !is_sound(&shown.data) {
            broken.push(format!("{partition} {id} was shown with data that nobody sent"));
        }
    }
    broken
}

fn was_sent(clients: &ClientHistory, data: &[u8], checksum: u32) -> bool {
    let operation = Number::of(data).and_then(|number| clients.operations.get(&number));
    // The bank makes its data itself, and its audit reads every field of it.
    operation
        .is_some_and(|operation| operation.sent.is_empty() || operation.sent.contains(&checksum))
}
