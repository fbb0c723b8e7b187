//! What passes between the client's machine and its driver.

use crate::id::{Mark, NodeId, PartitionId, TransactionId};
use crate::io::{Address, ConnectionId, Report};
use crate::record::Run;
use crate::time::Time;
use crate::wire::{Frame, OperatorRequest};

use super::call::{
    Answer, CallId, Conflict, Draft, Ending, Executed, Failure, InDoubt, Patience, Start,
    Unanswered,
};
use super::config::Partitions;

/// One attachment to a partition, from when it was chosen until it no longer is. What comes back
/// for an earlier one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The partition.
    pub partition: PartitionId,
    /// Counts the client's attachments.
    pub number: u64,
}

/// Something that happened to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientInput {
    /// A dialled connection was made.
    Opened {
        /// The connection.
        conn: ConnectionId,
    },
    /// A whole frame came.
    Received {
        /// The connection.
        conn: ConnectionId,
        /// The frame.
        frame: Frame,
    },
    /// A connection ended, or could not be made.
    Closed {
        /// The connection.
        conn: ConnectionId,
        /// Why, for people.
        reason: String,
    },
    /// The time asked for has come.
    Timer,
    /// All inputs at hand were given: send what was held back to be batched.
    EndOfTurn,
    /// Answers [`ClientEffect::Begin`]: where the application's database stands.
    Began {
        /// Which attachment.
        attachment: Attachment,
        /// Where to start, or why that can't be told now.
        start: Result<Start, String>,
    },
    /// Answers [`ClientEffect::Apply`].
    Applied {
        /// Which attachment.
        attachment: Attachment,
        /// What is applied now.
        mark: Mark,
        /// Whether the transaction after the mark failed to apply.
        failed: bool,
    },
    /// Answers [`ClientEffect::Execute`].
    Executed {
        /// Which context.
        call: CallId,
        /// Its partition.
        partition: PartitionId,
        /// What came of it.
        result: Executed,
    },
    /// Run a context until it commits; ended by [`ClientEffect::End`] or an applied commit.
    Submit {
        /// Names it.
        call: CallId,
        /// Where to append.
        partition: PartitionId,
        /// Its bounds.
        patience: Patience,
    },
    /// Append once; ended like a context.
    Append {
        /// Names it.
        call: CallId,
        /// Where to append.
        partition: PartitionId,
        /// What.
        draft: Draft,
        /// The mark it was computed at; none: where the client's feed started.
        at: Option<Mark>,
        /// Its bounds; it is never tried again.
        patience: Patience,
    },
    /// The application no longer wants a context or an append: what was not sent ends as
    /// cancelled, what was in doubt. One that has ended is not known any more.
    Cancel {
        /// Which.
        call: CallId,
        /// Its partition.
        partition: PartitionId,
    },
    /// Wait until everything called before is decided and what is committed is applied.
    Flush {
        /// Names it.
        call: CallId,
    },
    /// Tell what became of an attempt that ended in doubt, once it is decided: an attempt of this
    /// client, or of an earlier one that it [succeeds](super::ClientMachine::succeeding).
    Resolve {
        /// Names it.
        call: CallId,
        /// Which attempt.
        in_doubt: InDoubt,
    },
    /// Get a whole record.
    Fetch {
        /// Names it.
        call: CallId,
        /// The partition.
        partition: PartitionId,
        /// Which record.
        id: TransactionId,
    },
    /// Tell the cluster's shape.
    Describe {
        /// Names it.
        call: CallId,
        /// Wait until there are partitions, for as long as connecting may take.
        formed: bool,
    },
    /// Ask a node how it is; any, when none is named.
    Status {
        /// Names it.
        call: CallId,
        /// The node.
        node: Option<NodeId>,
    },
    /// Ask a node what it knows and keeps; any, when none is named.
    Inspect {
        /// Names it.
        call: CallId,
        /// The node.
        node: Option<NodeId>,
    },
    /// Ask for something as an operator does.
    Operate {
        /// Names it.
        call: CallId,
        /// What.
        request: OperatorRequest,
    },
    /// Mount these from now on.
    Choose {
        /// Names it.
        call: CallId,
        /// Which.
        partitions: Partitions,
    },
    /// End everything.
    Close,
}

/// Something a client wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEffect {
    /// Dial; answered by `Opened` or `Closed`.
    Connect {
        /// The connection's name from now on.
        conn: ConnectionId,
        /// Whom to dial.
        address: Address,
    },
    /// Send a frame, in order after earlier ones of the connection.
    Send {
        /// The connection.
        conn: ConnectionId,
        /// What to send.
        frame: Frame,
    },
    /// Close once everything sent before was written. No `Closed` comes back.
    Close {
        /// The connection.
        conn: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// Send `Timer` at this time. A later one replaces an earlier one.
    WakeAt(Time),
    /// Something worth a line in the log.
    Report(Report),
    /// Ask the application where its database stands; answered by `Began`.
    Begin {
        /// Which attachment.
        attachment: Attachment,
    },
    /// The feed of an attachment starts after this mark.
    Attached {
        /// Which attachment.
        attachment: Attachment,
        /// What is applied.
        mark: Mark,
    },
    /// Give committed transactions to the application, in order; answered by `Applied`. One at a
    /// time for each attachment.
    Apply {
        /// Which attachment.
        attachment: Attachment,
        /// The transactions, without a gap.
        runs: Vec<Run>,
        /// Calls whose commit is told by this: their transactions are in `runs`.
        owned: Vec<(TransactionId, CallId)>,
    },
    /// An attachment can't be fed any more, and nothing appended through it.
    Broken {
        /// Which attachment.
        attachment: Attachment,
        /// Why.
        failure: Failure,
    },
    /// Nothing more of an attachment is wanted.
    Detach {
        /// Which attachment.
        attachment: Attachment,
    },
    /// Execute a context; answered by `Executed`.
    Execute {
        /// Which context.
        call: CallId,
        /// Its partition.
        partition: PartitionId,
        /// What was applied before.
        at: Mark,
    },
    /// A context met a conflict; it will be executed again, or end.
    LockFailed {
        /// Which context.
        call: CallId,
        /// What stood against it.
        conflict: Conflict,
    },
    /// A context's attempt got lost on the way; it will be executed again.
    Lost {
        /// Which context.
        call: CallId,
    },
    /// An append or a context ended without, or before, being applied here.
    End {
        /// Which.
        call: CallId,
        /// How.
        ending: Ending,
    },
    /// A question is answered.
    Answer {
        /// Which.
        call: CallId,
        /// The answer.
        answer: Result<Answer, Unanswered>,
    },
    /// How many partitions the cluster has.
    Formed {
        /// The count.
        partitions: u32,
    },
    /// Everything has ended; nothing follows.
    Stop,
}
