//! The embedded coordinator: versioned values with compare-and-set, leases, watches.
//!
//! Its state is a fold over the [`Change`]s in its node's journal. A request is decided at once
//! against everything decided before it; its answer, and what watchers see of it, leave only when
//! all of that is durable. So nobody ever sees a value that a crash could take back.
//!
//! Leases are not journalled: only the keys tied to them are. A restarted coordinator does not
//! know who is alive, so it gives every lease that its state names a full grace period. Time alone
//! ends a lease, or its holder; a lost connection never does.
//!
//! No safety rests on it: a wiped, forked or set-back coordinator costs liveness only.

mod change;
mod leases;
mod limits;
mod machine;

#[cfg(test)]
mod tests;

pub use change::{Change, Key, LeaseId, Revision, Snapshot, Versioned};
pub use leases::{LEASE_GRACE, LONGEST_LEASE};
pub use limits::check_request;
pub use machine::{Coordinator, ReplayError};
