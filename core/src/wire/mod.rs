//! What goes over a connection: frames, the hello that opens it, and the messages.
//!
//! A frame is a small head (postcard) and a payload (records, never copied to be framed).
//! Invariant: the messages of a version stay as they are. A new version adds messages, at the end
//! of their kind, and [`Message::since`] says with which they came.

mod client;
mod coordinator;
mod frame;
mod hello;
mod inspection;
mod operator;
mod replica;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use client::{
    AppendRefusal, ClientRequest, ClusterView, FeedMode, FetchRefusal, MountRefusal, NodeStatus,
    NodeView, PartitionStatus, PartitionView, ReplicaStatus, ServerReply,
};
pub use coordinator::{CoordinatorRefusal, FromCoordinator, ToCoordinator};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameError, announced_frame_bytes, split_frame};
pub use hello::{Hello, Refusal, Unspoken, Version, Welcome, Who, agree};
pub use inspection::{NodeInspection, NodeRegistration, ReplicaInspection};
pub use operator::{KnownPartition, OperatorRefusal, OperatorRequest};
pub use replica::{FromReplica, MAX_RANGES, ReplicaAnswer, ReplicaRequest, ToReplica};

/// The head of every frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// First on a connection, by the dialler.
    Hello(Hello),
    /// The answer to a hello.
    Welcome(Welcome),
    /// The other answer; the connection is closed after it.
    Refused(Refusal),
    /// Is anyone there? Sent on an idle connection.
    Ping,
    /// Someone is.
    Pong,
    /// Client to server.
    Client(ClientRequest),
    /// Server to client.
    Server(ServerReply),
    /// Server to storage node.
    ToReplica(ToReplica),
    /// Storage node to server.
    FromReplica(FromReplica),
    /// Node to coordinator.
    ToCoordinator(ToCoordinator),
    /// Coordinator to node.
    FromCoordinator(FromCoordinator),
}

/// A frame's head is not a message of the agreed version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It is no message, or more than one.
    #[error("message of {bytes} bytes can't be decoded: {error}")]
    Malformed {
        /// How long the head is.
        bytes: usize,
        /// What postcard says.
        error: String,
    },
    /// It is one of a later version.
    #[error("message of protocol version {since}, where version {agreed} was agreed on")]
    TooNew {
        /// The version that it came with.
        since: Version,
        /// The version of the connection.
        agreed: Version,
    },
}

impl Message {
    /// The message as a frame with a payload.
    pub fn with(&self, payload: Bytes) -> Frame {
        // Every message type serializes: they hold no maps of unknown length and no floats.
        let head = postcard::to_stdvec(self).expect("messages serialize");
        Frame { head: head.into(), payload }
    }

    /// The message as a frame without a payload.
    pub fn frame(&self) -> Frame {
        self.with(Bytes::new())
    }

    /// The message in a frame's head; its checksum was verified before.
    ///
    /// # Errors
    /// When the bytes are no message, or more than one.
    pub fn decode(head: &[u8]) -> Result<Self, MessageError> {
        let error = |error: String| MessageError::Malformed { bytes: head.len(), error };
        let (message, rest) =
            postcard::take_from_bytes(head).map_err(|reason| error(reason.to_string()))?;
        if !rest.is_empty() {
            return Err(error(format!("{} bytes are left over", rest.len())));
        }
        Ok(message)
    }

    /// The version of the protocol that this message came with: no peer that agreed on an older
    /// one is sent it, or may send it.
    pub fn since(&self) -> Version {
        match self {
            Self::ToReplica(ToReplica { request, .. }) => request.since(),
            Self::FromReplica(FromReplica { answer, .. }) => answer.since(),
            Self::Client(request) => request.since(),
            Self::Server(reply) => reply.since(),
            Self::Hello(_)
            | Self::Welcome(_)
            | Self::Refused(_)
            | Self::Ping
            | Self::Pong
            | Self::ToCoordinator(_)
            | Self::FromCoordinator(_) => Version::FIRST,
        }
    }

    /// This message, if the version agreed on has it.
    ///
    /// # Errors
    /// [`MessageError::TooNew`] if it came with a later one.
    pub fn within(self, agreed: Version) -> Result<Self, MessageError> {
        match self.since() {
            since if since > agreed => Err(MessageError::TooNew { since, agreed }),
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn what_operates_a_cluster_is_kept_from_those_who_do_not_know_it() {
        let request = OperatorRequest::DrainServer { node: NodeId(1), drained: true };
        let refusal = OperatorRefusal::StillLive { node: NodeId(1) };
        let new = [
            Message::Client(ClientRequest::Inspect { call: 1 }),
            Message::Client(ClientRequest::Operate { call: 1, request }),
            Message::Server(ServerReply::Operated { call: 1, result: Err(refusal) }),
        ];
        for message in new {
            let since = Version::OPERATIONS;
            let agreed = Version::UPKEEP;
            let too_new = Err(MessageError::TooNew { since, agreed });
            assert_eq!(message.clone().within(agreed), too_new);
            assert_eq!(message.clone().within(since), Ok(message));
        }
        let old = Message::Server(ServerReply::Operated { call: 1, result: Ok(()) });
        assert_eq!(old.clone().within(Version::FIRST), Ok(old));
    }
}
