//! Real databases and coordinators for tests: found on the machine or installed, started on directories of
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
//! Databases listen on sockets in their directories only, coordinators on ports of loopback that the
//! system chose and nobody else is given: no two servers can want the same. A server syncs to the
//! disk as in production. If there is none to be had, that is an error: what a
//! test does not test it must not pass.

mod account;
mod coordinator;
mod error;
mod etcd;
mod mariadb;
mod place;
mod port;
mod postgres;
mod process;
mod programs;
mod running;
mod server;
mod tls;
mod zookeeper;

pub use coordinator::{CoordinatorKind, CoordinatorServer};
pub use error::ServerError;
pub use place::Place;
pub use port::Held;
pub use programs::find_or_install;
pub use server::{Kind, Server};
pub use tls::ServerTls;
