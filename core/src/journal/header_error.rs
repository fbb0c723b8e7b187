//! Why a file is refused as a segment.

use thiserror::Error;

/// Why a file is not a segment of this journal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// It does not begin as segments do.
    #[error("it is not a segment, or its first and its last block are damaged")]
    Magic,
    /// Another program wrote it.
    #[error(
        "its format version is {0} and this program reads versions 2 and 3; run the program that wrote it"
    )]
    Version(u32),
    /// Rot.
    #[error("its header is damaged (checksum {found:08x}, computed {computed:08x})")]
    Checksum {
        /// As written.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// Its size can't be one.
    #[error("its header gives it {0} bytes, which no segment has")]
    Layout(u32),
    /// It belongs to something else.
    #[error(
        "it is of {what} {found} where {expected} belongs; check that the configuration and the \
         data directory go together"
    )]
    Foreign {
        /// What differs.
        what: &'static str,
        /// As written.
        found: String,
        /// As it should be.
        expected: String,
    },
}

impl HeaderError {
    /// Whether bytes changed at rest, as far as one can tell; else the file is somebody else's.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Magic | Self::Checksum { .. } | Self::Layout(_))
    }
}
