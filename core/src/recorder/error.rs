//! Why bytes are no recording that this program can replay.

use thiserror::Error;

/// Why bytes are no recording that this program can replay.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordingError {
    /// It is something else.
    #[error("this is no recording of a node")]
    NotARecording,
    /// A later format.
    #[error("the recording has format {found}, and this program reads format {known}")]
    Format {
        /// The recording's.
        found: u8,
        /// The one that is known here.
        known: u8,
    },
    /// States and inputs have the shapes of the program that recorded them.
    #[error("the recording was made by waltz {found}, and this is {here}; replay it with that one")]
    OtherBuild {
        /// Who recorded it.
        found: String,
        /// Who reads it.
        here: String,
    },
    /// Its end is missing.
    #[error("the recording ends early, in the part at byte {offset}")]
    Truncated {
        /// Where the unfinished part begins.
        offset: usize,
    },
    /// A checksum does not fit.
    #[error("the recording is damaged in the part at byte {offset}")]
    Damaged {
        /// Where the part begins.
        offset: usize,
    },
    /// A part that is whole does not hold what it should.
    #[error("the part at byte {offset} of the recording makes no sense: {reason}")]
    Nonsense {
        /// Where the part begins.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
}
