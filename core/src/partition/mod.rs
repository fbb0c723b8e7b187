//! What a server does for one partition's clients while its session is open.
//!
//! Pure pieces, each of which knows only its own part: [`tail`] keeps the newest committed records
//! in memory, [`mounts`] decides what each client is told and fed, and when.

pub mod mounts;
pub mod tail;
#[cfg(test)]
mod testing;
