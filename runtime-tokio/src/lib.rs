//! Waltz on real machines: sockets, files, threads and clocks of the operating system.
//!
//! It implements the traits of `waltz-runtime` and decides nothing: it moves bytes, durability,
//! time and randomness.
//!
//! ```text
//!   shard thread (one current-thread runtime)             journal threads
//!   sockets ⇄ TcpNet ⇄ loop ⇄ JournalThread  ═mailbox═▶  write, sync, next batch
//!             TokioTimer ⇄┘                  ◀═mailbox═   read; zero-fill spare segments
//! ```

pub mod disk;
pub mod journal;
mod mailbox;
pub mod net;
pub mod runtime;
pub mod shard;
pub mod timer;
pub mod tls;

pub use disk::{DiskError, FileDisk, ReadOnlyDisk};
pub use journal::{JournalStatistics, JournalThread};
pub use net::{NetConfig, TcpNet};
pub use runtime::TokioRuntime;
pub use shard::run_shard;
pub use timer::TokioTimer;
pub use tls::{ClientCertificates, Tls, TlsError};
