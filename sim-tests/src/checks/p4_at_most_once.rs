//! Promise 4: a submitted transaction is in the log at most once per ReqId; a context reported
//! committed is there exactly once, one reported ignored or failed is not there and never will be.
//!
//! The second half is judged by `client_history`. And what follows from both for the bank: its
//! databases equal a replay of the log.

use std::collections::BTreeSet;

use waltz_bank::{Audit, Operation, Replay};

use super::Evidence;
use crate::disk_log::Stored;
use crate::workloads::bank::{Bank, OPENING_CENTS};

pub(super) fn check(evidence: &Evidence) -> Vec<String> {
    if !evidence.unfinished.is_empty() {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for log in evidence.longest_logs().values() {
        let mut seen = BTreeSet::new();
        for record in log.iter().map(Stored::record) {
            if !seen.insert(record.req_id()) {
                broken.push(format!("{} is in the log twice", record.req_id()));
            }
        }
    }
    if let Some(bank) = &evidence.bank {
        broken.extend(audit(evidence, bank));
    }
    broken
}

fn audit(evidence: &Evidence, bank: &Bank) -> Vec<String> {
    let (mut broken, mut replay) = (Vec::new(), Replay::new(OPENING_CENTS));
    for (partition, log) in evidence.longest_logs() {
        for record in log.iter().map(Stored::record) {
            let operation = Operation::decode(record.header(), record.data());
            let applied = operation.map_err(|error| error.to_string()).and_then(|operation| {
                replay.apply(partition, record.id(), &operation).map_err(|error| error.to_string())
            });
            if let Err(error) = applied {
                broken.push(format!("{partition} {}: {error}", record.id()));
            }
        }
    }
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
