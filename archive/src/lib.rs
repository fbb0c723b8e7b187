//! Trimmed history of Waltz in an object store: what is written there, and how it is read again.
//!
//! It knows no cluster: an operator's command writes (`waltz admin partition trim --archive`), and a
//! node reads through [`StorePort`] what its machine asks for. What it reads is verified here, and
//! once more by the machine.

mod piece;
mod port;
mod reader;
mod store;
pub mod stream;
#[cfg(test)]
mod testing;

pub use piece::{LogName, PIECE_BYTES, Piece, PieceWriter, SoundPiece};
pub use port::StorePort;
pub use reader::ArchiveReader;
pub use store::{Archive, ArchiveError};
