//! Trimmed history of Waltz in an object store: what is written there, and how it is read again.
//!
//! It knows no cluster: an operator's command writes (`waltz admin partition trim --archive`), and a
//! node reads what its machine asks for. What it reads is verified here, and
//! once more by the machine.

mod piece;
mod reader;
mod store;
pub mod stream;
#[cfg(test)]
mod testing;

pub use piece::{LogName, PIECE_BYTES, Piece, PieceWriter, SoundPiece};
pub use reader::ArchiveReader;
pub use store::{Archive, ArchiveError};
