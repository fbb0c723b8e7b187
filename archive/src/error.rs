//! What an archive's errors say: what happened, where, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;

use crate::stream::StreamError;

/// What S3 answers to those whom it does not let in.
const REFUSALS: [&str; 8] = [
    "AccessDenied",
    "AccountProblem",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

/// Why an archive can't be used, or something in it.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It names no store.
    #[error(
        "{url:?} names no archive: {reason}; name a directory, or s3://BUCKET/FOLDER with its \
         settings in the variables AWS_*"
    )]
    Url {
        /// What was named.
        url: String,
        /// Why it is none.
        reason: String,
    },
    /// A local archive's directory does not exist. It is not made: perhaps it was to be mounted.
    #[error("the archive's directory {} is not there; make it, or mount its disk", .0.display())]
    Absent(PathBuf),
    /// The bucket does not exist. It is not made either.
    #[error(
        "can't {action} {object}: the store has no such bucket: {source}; make it, or name another \
         one"
    )]
    NoBucket {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The store does not let this user do that.
    #[error(
        "can't {action} {object}: the store refuses it to this user: {source}; check \
         AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do with the bucket"
    )]
    Refused {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A store over the network does not answer, or with what is no answer.
    #[error(
        "can't {action} {object}: the store does not serve it: {source}; check that it runs and is \
         the one that AWS_ENDPOINT and AWS_REGION say, then try again"
    )]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// What went wrong.
        source: object_store::Error,
    },
    /// An object is not there.
    #[error("can't {action} {object}: it is not there: {source}; put it back, or archive it again")]
    Missing {
        /// What was tried.
        action: &'static str,
        /// The object.
        object: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A local archive's disk refuses.
    #[error("can't {action} {object}: {source}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// What the system says.
        source: object_store::Error,
    },
    /// An object is not what was written.
    #[error("{object} is no sound piece of an archive: {source}")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        source: StreamError,
    },
}

impl ArchiveError {
    /// What the error of a store is, of one over the network or of the local disk.
    pub(crate) fn of_store(
        is_local: bool,
        action: &'static str,
        object: String,
        source: object_store::Error,
    ) -> Self {
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        let text = source.to_string();
        // Of a list that failed the client tells no more than this text.
        let code = code(&text);
        match &source {
            _ if code == Some("NoSuchBucket") => Self::NoBucket { action, object, source },
            NotFound { .. } => Self::Missing { action, object, source },
            _ if is_local => Self::Disk { action, object, source },
            PermissionDenied { .. } | Unauthenticated { .. } => {
                Self::Refused { action, object, source }
            }
            _ if code.is_some_and(|code| REFUSALS.contains(&code)) => {
                Self::Refused { action, object, source }
            }
            _ => Self::Unreachable { action, object, source },
        }
    }

    /// Whether it tells of one object, so that another one may still be read: not of the store.
    pub fn is_of_object(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Disk { .. } | Self::Damaged { .. })
    }
}

/// The code of an error in S3's answer.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0)
}
