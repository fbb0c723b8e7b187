//! What goes over a connection: frames, the hello that opens it, and the messages.
//!
//! A frame is a small head (postcard) and a payload (records, never copied to be framed). A message
//! that is no small head, as whole clusters are told in, is a payload itself ([`Message::Long`]).
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

use crate::limits::Limits;
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
    /// A message that is too long for a head: it is the frame's payload.
    Long {
        /// The payload's CRC32C.
        checksum: u32,
    },
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
    /// It is not what was sent.
    #[error("long message of {bytes} bytes has checksum {found:08x}, computed {computed:08x}")]
    Damaged {
        /// How long it is.
        bytes: usize,
        /// As sent.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// It is a long one, of a client that is no operator.
    #[error("long message of {bytes} bytes from a client without the role admin")]
    NotAdmin {
        /// How long it is.
        bytes: usize,
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

/// No frame of the agreed version takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("message of {bytes} bytes, where version {agreed} of the protocol takes {limit}")]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
    /// The longest that there may be.
    pub limit: u32,
    /// The version of the connection.
    pub agreed: Version,
}

/// The longest head that is sent to who takes [`Message::Long`], in bytes.
const HEAD_BYTES: usize = 4 << 10;

impl Message {
    /// The message as a frame of the version agreed on.
    ///
    /// # Errors
    /// When there is no such frame.
    pub fn framed(&self, payload: Bytes, agreed: Version) -> Result<Frame, TooLong> {
        let Limits { frame_head, frame_payload, .. } = Limits::default();
        let frame = self.with(payload);
        let bytes = frame.head.len();
        let is_long = bytes > HEAD_BYTES && frame.payload.is_empty() && agreed >= Version::LONG;
        let limit = if is_long { frame_payload } else { frame_head };
        if bytes > limit as usize {
            return Err(TooLong { bytes, limit, agreed });
        }
        match is_long {
            true => Ok(Self::Long { checksum: crc32c::crc32c(&frame.head) }.with(frame.head)),
            false => Ok(frame),
        }
    }

    /// The message that came, and what came along, after [`Self::decode`] of a frame's head: a long one
    /// is the frame's payload.
    ///
    /// # Errors
    /// When the payload is damaged, or no message.
    pub fn open(self, payload: Bytes) -> Result<(Self, Bytes), MessageError> {
        let Self::Long { checksum: found } = self else { return Ok((self, payload)) };
        let (bytes, computed) = (payload.len(), crc32c::crc32c(&payload));
        if found != computed {
            return Err(MessageError::Damaged { bytes, found, computed });
        }
        Ok((Self::decode(&payload)?, Bytes::new()))
    }

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
            Self::Long { .. } => Version::LONG,
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

    /// A message of about so many bytes.
    fn long(bytes: usize) -> Message {
        let value = Some(vec![7; bytes].into());
        let (request, key, expected, lease) = (1, "loads".to_owned(), None, None);
        let set = ToCoordinator::CompareAndSet { request, key, expected, value, lease };
        Message::ToCoordinator(set)
    }

    #[test]
    fn what_is_too_long_for_a_head_is_a_payload_where_that_is_known() {
        let frame = long(64 << 10).framed(Bytes::new(), Version::SPACE).expect("it is a head");
        assert_eq!(Message::decode(&frame.head), Ok(long(64 << 10)));
        for (bytes, agreed) in [(2 << 20, Version::SPACE), (9 << 20, Version::LONG)] {
            let error = long(bytes).framed(Bytes::new(), agreed).expect_err("it fits no frame");
            assert_eq!(error.agreed, agreed);
        }
        let frame = long(2 << 20).framed(Bytes::new(), Version::LONG).expect("it is a payload");
        let head = Message::decode(&frame.head).expect("a head");
        assert_eq!(head.clone().open(frame.payload.clone()), Ok((long(2 << 20), Bytes::new())));
        let short = frame.payload.slice(1..);
        assert!(matches!(head.open(short), Err(MessageError::Damaged { .. })));
    }

    #[test]
    fn a_short_message_is_a_head_in_every_version() {
        let (message, payload) = (long(100), Bytes::from_static(b"records"));
        for agreed in [Version::FIRST, Version::NEWEST] {
            let frame = message.framed(payload.clone(), agreed).expect("it is short");
            assert_eq!(frame, message.with(payload.clone()));
            assert_eq!(
                message.clone().open(payload.clone()),
                Ok((message.clone(), payload.clone()))
            );
        }
    }

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
