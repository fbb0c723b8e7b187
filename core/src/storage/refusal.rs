//! Why a request is not served.

use thiserror::Error;

use crate::id::{Mark, SessionId, TransactionId};
use crate::io::Level;
use crate::record::RecordError;
use crate::wire::ReplicaAnswer;

/// The reason; its text goes to the server that asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("session {promise} is promised")]
    Fenced { promise: SessionId },
    #[error("the session was not opened here; promised is {promise}")]
    NotOpened { promise: String },
    #[error("the session was not joined here; joined last is {normal}")]
    NotJoined { normal: String },
    #[error("the session was joined here before")]
    AlreadyJoined,
    #[error("no chosen log was adopted in this session")]
    NotAdopted,
    #[error("records from {first} do not follow the log, which ends at {last}")]
    Gap { first: TransactionId, last: Mark },
    #[error("the payload is no run of records: {0}")]
    Payload(#[from] RecordError),
    #[error("record {first} is here already, of another session")]
    OtherSession { first: TransactionId },
    #[error("the chosen log's sessions do not ascend up to the asking one")]
    Unsound,
    #[error("another log was chosen before in this session")]
    OtherChoice,
    #[error("the chosen log agrees up to {keep}, and {low_water} is known to be committed")]
    BelowLowWater { keep: Mark, low_water: Mark },
    #[error("records from {first} are not the chosen log's")]
    NotChosen { first: TransactionId },
    #[error(
        "joining at {at} needs a log that ends there: it ends at {last}, the chosen at {chosen}"
    )]
    JoinElsewhere { at: Mark, last: Mark, chosen: Mark },
}

impl Refusal {
    /// What the server hears.
    pub(super) fn answer(&self) -> ReplicaAnswer {
        match self {
            Self::Fenced { promise } => ReplicaAnswer::Fenced { promise: *promise },
            other => ReplicaAnswer::OutOfPlace { reason: other.to_string() },
        }
    }

    /// How grave it is for the operator. What a lost race or connection explains is not told.
    pub(super) fn level(&self) -> Option<Level> {
        match self {
            Self::Payload(_) => Some(Level::Warning),
            Self::OtherSession { .. }
            | Self::Unsound
            | Self::OtherChoice
            | Self::BelowLowWater { .. }
            | Self::NotChosen { .. } => Some(Level::Error),
            _ => None,
        }
    }
}
