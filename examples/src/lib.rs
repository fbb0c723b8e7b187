//! Examples of services on Waltz.
//!
//! The programs are in `src/bin`, one directory or file each; they need a node, and some a
//! database. [`reservations`] is a service whose tests (`tests/reservations.rs`) need neither.
//! The programming guide (`docs/guide.md`) explains all of them.

pub mod reservations;

/// The guide's programs are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
mod guide {}
