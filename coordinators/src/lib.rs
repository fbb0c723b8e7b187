//! Coordinators that are no nodes of the cluster: etcd and ZooKeeper.
//!
//! A node asks them what it would ask the embedded coordinator, and is answered the same: versioned
//! values with compare-and-set, leases, watches. `waltz_core::coordinator` is their specification,
//! and one suite of tests runs against all of them.
//!
//! ```text
//!  node ── Port ──▶ desk ──▶ session ──▶ etcd or ZooKeeper
//!       ◀── events ──┘          │
//!                               └─ ends with any failure; the next one starts over
//! ```
//!
//! Nothing is remembered from one session to the next but the lease: the node compares what should
//! stand with what does each time it is connected. A failure of any kind ends the session, so there
//! is one way to recover and it is used often.

mod address;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "engines")]
mod desk;
#[cfg(feature = "engines")]
mod dial;
#[cfg(feature = "engines")]
mod etcd;
mod memory;
#[cfg(feature = "engines")]
mod port;
#[cfg(feature = "engines")]
mod security;
#[cfg(feature = "engines")]
mod seen;
#[cfg(feature = "engines")]
mod session;
#[cfg(feature = "engines")]
mod zookeeper;

pub use address::{AddressError, CoordinatorAddress, Engine};
pub use memory::{MemoryCoordinator, MemoryPort};
#[cfg(feature = "engines")]
pub use port::Port;
#[cfg(feature = "engines")]
pub use security::{Login, LoginError, Security};
