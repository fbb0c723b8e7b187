//! What the coordinator refuses to hold: its whole state must fit one snapshot message, and that
//! one frame's payload.

use crate::coordinator::Key;
use crate::wire::{CoordinatorRefusal, ToCoordinator};

const KEY_BYTES: usize = 128;
const VALUE_BYTES: usize = 128 << 10;
const STATE_BYTES: usize = 7 << 20;
const WATCHES: usize = 8;
const LEASES: usize = 4096;

/// Checks what every coordinator bounds, the embedded one and others: keys, prefixes and values.
///
/// # Errors
/// Which limit the request is over.
pub fn check_request(request: &ToCoordinator) -> Result<(), CoordinatorRefusal> {
    match request {
        ToCoordinator::CompareAndSet { key, value, .. } => {
            check_key(key)?;
            value.as_deref().map_or(Ok(()), check_value)
        }
        ToCoordinator::Watch { prefix } => check_key(prefix),
        ToCoordinator::Get { .. }
        | ToCoordinator::KeepAlive { .. }
        | ToCoordinator::Release { .. } => Ok(()),
    }
}

/// What a key and its value add to a snapshot, in bytes, with revision, lease and lengths.
pub(super) fn entry_bytes(key: &Key, value: &[u8]) -> usize {
    const OVERHEAD: usize = 24;
    key.len() + value.len() + OVERHEAD
}

pub(super) fn check_key(key: &Key) -> Result<(), CoordinatorRefusal> {
    within(key.len(), KEY_BYTES, |limit| CoordinatorRefusal::KeyLength { limit })
}

pub(super) fn check_value(value: &[u8]) -> Result<(), CoordinatorRefusal> {
    within(value.len(), VALUE_BYTES, |limit| CoordinatorRefusal::ValueLength { limit })
}

/// `bytes`: the state's size with the change made.
pub(super) fn check_state(bytes: usize) -> Result<(), CoordinatorRefusal> {
    within(bytes, STATE_BYTES, |limit| CoordinatorRefusal::StateLength { limit })
}

/// `count`: the connection's watches with the new one.
pub(super) fn check_watches(count: usize) -> Result<(), CoordinatorRefusal> {
    within(count, WATCHES, |limit| CoordinatorRefusal::Watches { limit })
}

/// `count`: all leases with the new one.
pub(super) fn check_leases(count: usize) -> Result<(), CoordinatorRefusal> {
    within(count, LEASES, |limit| CoordinatorRefusal::Leases { limit })
}

fn within(
    found: usize,
    limit: usize,
    refusal: impl FnOnce(u32) -> CoordinatorRefusal,
) -> Result<(), CoordinatorRefusal> {
    // Every limit above is far below 2^32.
    if found <= limit { Ok(()) } else { Err(refusal(limit as u32)) }
}
