//! What is asked about one key or one lease.

use bytes::Bytes;
use waltz_core::coordinator::{Key, LeaseId, Revision, Versioned};
use waltz_core::wire::FromCoordinator;

use super::api;
use super::calls::{Calls, Fault};
use super::keys::{lease_number, revision, revision_number, versioned};

/// What came of a request.
pub(super) struct Done {
    /// What it changed.
    pub(super) change: Option<Change>,
    pub(super) answer: FromCoordinator,
}

/// A key as it is from a revision on.
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) revision: Revision,
    pub(super) current: Option<Versioned>,
}

/// A compare-and-set.
pub(super) struct SetRequest {
    pub(super) request: u64,
    pub(super) key: Key,
    /// The key as etcd has it.
    pub(super) bytes: Bytes,
    pub(super) expected: Option<Revision>,
    pub(super) value: Option<(Bytes, Option<LeaseId>)>,
}

impl From<FromCoordinator> for Done {
    fn from(answer: FromCoordinator) -> Self {
        Self { change: None, answer }
    }
}

pub(super) async fn keep_alive(calls: &Calls, lease: LeaseId, ttl_ms: u32) -> Result<Done, String> {
    let ttl = i64::from(ttl_ms.div_ceil(1000).max(1));
    calls.keep_alive(lease_number(lease), ttl).await.map_err(Fault::text)?;
    Ok(FromCoordinator::Alive { lease }.into())
}

pub(super) async fn read(calls: &Calls, request: u64, bytes: Bytes) -> Result<Done, String> {
    let found = calls.range(one(bytes)).await.map_err(Fault::text)?;
    Ok(FromCoordinator::Value { request, current: first(found) }.into())
}

pub(super) async fn compare_and_set(calls: &Calls, set: SetRequest) -> Result<Done, String> {
    let request = set.request;
    let answered = match calls.txn(transaction(&set)).await {
        Ok(answered) => answered,
        Err(Fault::NoLease) => {
            let found = calls.range(one(set.bytes)).await.map_err(Fault::text)?;
            return Ok(FromCoordinator::Conflict { request, current: first(found) }.into());
        }
        Err(fault) => return Err(fault.text()),
    };
    if !answered.succeeded {
        let found = answered.responses.into_iter().find_map(|response| response.range);
        let current = found.and_then(first);
        return Ok(FromCoordinator::Conflict { request, current }.into());
    }
    let header = answered.header.ok_or("etcd named no revision")?;
    let revision = revision(header.revision);
    let SetRequest { key, expected, value, .. } = set;
    let changed = expected.is_some() || value.is_some();
    let current = value.map(|(value, lease)| Versioned { revision, value, lease });
    let change = changed.then_some(Change { key, revision, current });
    Ok(Done { change, answer: FromCoordinator::Set { request, revision } })
}

/// Changes the key if it is as expected, and reads it if not.
fn transaction(set: &SetRequest) -> api::TxnRequest {
    let key = set.bytes.clone();
    let operation = match set.value.clone() {
        Some((value, lease)) => {
            let lease = lease.map_or(0, lease_number);
            api::Operation::Put(api::PutRequest { key: key.clone(), value, lease })
        }
        None => api::Operation::DeleteRange(api::DeleteRangeRequest { key: key.clone() }),
    };
    let read = api::Operation::Range(one(key.clone()));
    api::TxnRequest {
        compare: vec![api::Compare {
            result: api::EQUAL,
            target: api::MOD_REVISION,
            key,
            to: Some(api::CompareTo::ModRevision(revision_number(set.expected))),
        }],
        success: vec![api::RequestOp { operation: Some(operation) }],
        failure: vec![api::RequestOp { operation: Some(read) }],
    }
}

/// The range of one key.
fn one(key: Bytes) -> api::RangeRequest {
    api::RangeRequest { key, range_end: Bytes::new() }
}

fn first(found: api::RangeResponse) -> Option<Versioned> {
    found.kvs.into_iter().next().map(versioned)
}
