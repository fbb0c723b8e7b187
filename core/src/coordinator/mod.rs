//! The embedded coordinator: versioned values with compare-and-set, leases, watches.

mod change;

pub use change::{Change, Key, LeaseId, Revision, Versioned};
