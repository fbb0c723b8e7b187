//! What a server does for one partition's clients while its session is open.
//!
//! Pure pieces, each of which knows only its own part: [`tail`] keeps the newest committed records
//! in memory, [`mounts`] decides what each client is told and fed, and when, and [`retention`] what
//! of the log is kept; what was trimmed comes from an archive, if there is one. [`server`] composes them with a session and a lock table.

mod archive;
mod counting;
mod measure;
pub mod mounts;
pub mod orders;
mod patience;
mod rebuild;
pub(crate) mod refuse;
pub mod retention;
pub mod server;
mod serving;
pub mod tail;
#[cfg(any(test, feature = "planted-bugs"))]
pub(crate) mod testing;
