//! The pure heart of Waltz.
//!
//! Everything that decides lives here, as state machines that take one input and append their
//! effects to a buffer the caller owns. Nothing here knows sockets, files, threads, clocks or
//! randomness: time and random seeds come in, frames and journal entries go out. That is why the
//! code that ships and the code that is simulated are the same code.

pub mod access;
pub mod client;
pub mod coordinator;
#[cfg(any(test, feature = "planted-bugs"))]
pub mod explorer;
pub mod hash;
pub mod id;
pub mod io;
pub mod journal;
pub mod limits;
pub mod lock;
pub mod locks;
pub mod log;
pub mod measure;
pub mod membership;
pub mod node;
pub mod partition;
pub mod planted;
pub mod rate;
pub mod record;
pub mod recorder;
pub mod sequencer;
pub mod storage;
pub mod time;
pub mod tls;
pub mod transcript;
pub mod wire;
