//! The public API over a server that lives in the same process: one node, one partition, and a
//! log that commits what it is given.

mod api;
mod cancelling;
mod loopback;
