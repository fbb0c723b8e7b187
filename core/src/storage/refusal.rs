//! Why a request is not served.

use thiserror::Error;

use crate::id::{IdRange, Mark, Position, SessionId, SetVersion, TransactionId};
use crate::io::Level;
use crate::record::RecordError;
use crate::wire::ReplicaAnswer;

/// The reason; its text goes to the server that asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("session {promise} is promised")]
    Fenced { promise: SessionId },
    #[error("the disk is full")]
    Full,
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
    #[error("the chosen log was told longer before")]
    Late,
    #[error("another log was chosen before in this session")]
    OtherChoice,
    #[error("the chosen log agrees up to {keep}, and {low_water} is known to be committed")]
    BelowLowWater { keep: Mark, low_water: Mark },
    #[error("records from {first} are not the chosen log's")]
    NotChosen { first: TransactionId },
    #[error("records beyond {at} need the replica set {version} first")]
    ChangeFirst { version: SetVersion, at: Mark },
    #[error("the replica set {version} is another here")]
    OtherChange { version: SetVersion },
    #[error("the replica set {version} is neither the chosen log's nor the joined session's")]
    NotChosenChange { version: SetVersion },
    #[error("a replica set at {at} does not follow the log, which ends at {own}")]
    ChangeElsewhere { at: Position, own: Position },
    #[error("records {first} can't be read here: they must be repaired before the log joins")]
    Damaged { first: IdRange },
    #[error(
        "joining at {at} needs a log that ends there: it ends at {own}, the chosen at {chosen}"
    )]
    JoinElsewhere { at: Position, own: Position, chosen: Position },
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
            | Self::OtherChange { .. }
            | Self::NotChosenChange { .. }
            | Self::NotChosen { .. } => Some(Level::Error),
            _ => None,
        }
    }
}
