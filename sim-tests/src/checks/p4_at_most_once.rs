//! Promise 4: a submitted transaction is in the log at most once per ReqId; a context reported
//! committed is there exactly once, one reported ignored or failed is not there and never will be.
//!
//! And what follows from it for the bank: both databases equal a replay of the log.

use std::collections::BTreeSet;

use waltz_bank::{Audit, Operation, Replay};

use super::Evidence;
use crate::bank::OPENING_CENTS;

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        return Vec::new();
    }
    let (mut broken, mut replay) = (Vec::new(), Replay::new(OPENING_CENTS));
    for (partition, log) in evidence.longest_logs() {
        let mut seen = BTreeSet::new();
        for stored in log {
            let record = stored.record();
            if !seen.insert(record.req_id()) {
                broken.push(format!("{} is in the log twice", record.req_id()));
            }
            let operation = Operation::decode(record.header(), record.data());
            let applied = operation.map_err(|error| error.to_string()).and_then(|operation| {
                replay.apply(partition, record.id(), &operation).map_err(|error| error.to_string())
            });
            if let Err(error) = applied {
                broken.push(format!("{partition} {}: {error}", record.id()));
            }
        }
    }
    let bank = &evidence.bank;
    let databases = (bank.shared.balances(), bank.derived.balances(), bank.derived.statements());
    let (Ok(shared), Ok(derived), Ok(statements)) = databases else {
        broken.push("the databases could not be read".to_owned());
        return broken;
    };
    let audit = Audit {
        tally: &bank.tally,
        replay: &replay,
        shared: &shared,
        derived: &derived,
        statements: &statements,
        opening_cents: OPENING_CENTS,
        ledger: None,
    };
    broken.extend(audit.violations().iter().map(ToString::to_string));
    broken
}
