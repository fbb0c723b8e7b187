//! The client: it finds the cluster, mounts partitions, appends for the application, and feeds it
//! what is committed.
//!
//! A pure machine: connections, time and the application's code are on the other side of
//! [`ClientInput`] and [`ClientEffect`]. It keeps these promises:
//!
//! - every append and every submitted context ends exactly once, by one [`ClientEffect::End`] or
//!   as one of the `owned` of a [`ClientEffect::Apply`];
//! - what ends as committed is in the log, what ends as ignored or failed is not and never will
//!   be; what was sent and not decided when the application gave up ends in doubt, and is not
//!   sent again;
//! - the application is given every transaction after its mark, once, in order, without a gap,
//!   and gets one again only after it failed there;
//! - memory is bounded by the credit of each partition and by the calls that have not ended.
//!
//! ```text
//!   calls ─────▶ partition::window ──── Append ───▶┐
//!                     ▲ own ReqIds                 │  links (connections)
//!   callbacks ◀─ partition::feed ◀───── Feed ──────┤
//!   questions ──▶ requests, flush ◀──▶ Fetch, …  ──┘
//! ```

mod base;
mod call;
mod cluster;
mod config;
mod flush;
mod io;
mod links;
mod machine;
mod partition;
mod requests;

pub use call::{
    Answer, CallId, Conflict, Draft, Ending, Executed, Failure, InDoubt, Patience, Resolution,
    Start, Unanswered,
};
pub use config::{ClientConfig, Partitions, Token};
pub use io::{Attachment, ClientEffect, ClientInput};
pub use machine::ClientMachine;

#[cfg(any(test, feature = "planted-bugs"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
