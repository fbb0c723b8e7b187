//! Real database servers for tests: found on the machine or installed, started on directories of
//! their own, stopped with the tests that started them.
//!
//! ```no_run
//! # fn main() -> Result<(), waltz_databases::ServerError> {
//! let server = waltz_databases::Server::start(waltz_databases::Kind::Postgres)?;
//! let url = server.create_database("accounts")?;
//! server.kill()?; // as a crash would
//! server.restart()?;
//! # Ok(())
//! # }
//! ```
//!
//! Servers listen on sockets in their directories only: no two of them can want the same port. A
//! server syncs to the disk as in production. If there is none to be had, that is an error: what a
//! test does not test it must not pass.

mod account;
mod error;
mod mariadb;
mod postgres;
mod process;
mod programs;
mod server;

pub use error::ServerError;
pub use server::{Kind, Server};
