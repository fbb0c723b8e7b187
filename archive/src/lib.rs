//! Trimmed history of Waltz in an object store: what is written there, and how it is read again.
//!
//! It knows no cluster: an operator's command writes (`waltz admin partition trim --archive`), and a
//! node reads through `StorePort` what its machine asks for. What it reads is verified here, and
//! once more by the machine. Where the objects are is what the feature `store` is about: the rest
//! reads and writes them over any [`PieceStore`], in the simulation, too.

#[cfg(feature = "store")]
mod error;
mod piece;
#[cfg(feature = "store")]
mod port;
mod reader;
#[cfg(all(test, feature = "store"))]
mod s3_tests;
mod statistics;
#[cfg(feature = "store")]
mod store;
pub mod stream;
#[cfg(test)]
mod testing;

#[cfg(feature = "store")]
pub use error::ArchiveError;
pub use piece::{LogName, PIECE_BYTES, Piece, PieceWriter, SoundPiece};
#[cfg(feature = "store")]
pub use port::StorePort;
pub use reader::{ArchiveReader, PieceStore};
pub use statistics::ArchiveStatistics;
#[cfg(feature = "store")]
pub use store::Archive;
