//! What passes between a node's machine and its world.
//!
//! A machine takes one [`Input`] at a time and pushes [`Effect`]s; nothing is returned in any
//! other way and nothing blocks. Order among effects matters only for sends on one connection and
//! for entries of one journal.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::access::Identity;
use crate::id::{CreationId, Mark, NodeId, PartitionId, SessionId, TransactionId};
use crate::journal::{Entry, Place};
use crate::time::{Random, Time};
use crate::wire::{Frame, FromCoordinator, ToCoordinator};

/// Where a node listens: `host:port` on real networks, any unique name in a simulated one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(pub String);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection of one process' life. Dialled ones are numbered by the machine, accepted ones
/// by the runtime; the two never collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(u64);

impl ConnectionId {
    const DIALED: u64 = 1 << 63;

    /// The machine's `n`-th dial.
    pub fn dialed(n: u64) -> Self {
        Self(n | Self::DIALED)
    }

    /// The runtime's `n`-th accepted connection.
    pub fn accepted(n: u64) -> Self {
        Self(n & !Self::DIALED)
    }

    /// Which dial, or which accepted connection, it is.
    pub fn number(self) -> u64 {
        self.0 & !Self::DIALED
    }

    /// Whether this side dialled.
    pub fn is_dialed(self) -> bool {
        self.0 & Self::DIALED != 0
    }
}

/// Who asked a role of this node: another role of the same process, or a peer. Messages between
/// roles of one process are delivered within the step, without a socket or an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// This process.
    Local,
    /// Whoever is at the other end.
    Peer(ConnectionId),
}

/// Numbers the entries given to the journal, and separately the reads asked of it; from 1, by one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Ticket(pub u64);

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A dialled connection was made, or another process connected.
    Opened {
        /// The connection.
        conn: ConnectionId,
        /// Whom the other end has proved to be.
        identity: Option<Identity>,
    },
    /// A whole frame came.
    Received {
        /// The connection.
        conn: ConnectionId,
        /// The frame; its lengths and head checksum were verified.
        frame: Frame,
    },
    /// A connection ended, or could not be made. Nothing more comes of it.
    Closed {
        /// The connection.
        conn: ConnectionId,
        /// Why, for people.
        reason: String,
    },
    /// All entries up to a ticket are durable.
    Durable {
        /// The highest durable ticket.
        up_to: Ticket,
        /// Where the bodies of the newly durable entries that have one are, in ticket order.
        places: Vec<(Ticket, Place)>,
    },
    /// A write or sync failed: this journal is finished and the node must stop.
    JournalFailed {
        /// What failed, for people.
        error: String,
    },
    /// A read ended.
    Read {
        /// The read's ticket.
        ticket: Ticket,
        /// The bodies read, one for each place asked for, in order. They were not verified.
        result: Result<Vec<Bytes>, String>,
    },
    /// The time asked for has come.
    Timer,
    /// All inputs at hand were given: send what was held back to be batched.
    EndOfTurn,
    /// Stop cleanly: hand over what is served, release the lease.
    Shutdown,
    /// Something came of a coordinator outside of the cluster.
    Coordinator(CoordinatorEvent),
    /// A read of the archive ended.
    ArchiveRead {
        /// The read.
        ticket: ArchiveTicket,
        /// Records from the first one wanted on, end to end. They were not verified.
        result: Result<Bytes, ArchiveFailure>,
    },
    /// Whether the journal's disk has room for its next segment, whenever that changes. At first it
    /// has.
    Space {
        /// It has none.
        is_full: bool,
    },
}

/// Names a read of the archive: whose it is. No other session is asked to take what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArchiveTicket {
    /// The partition.
    pub partition: PartitionId,
    /// The session that serves it.
    pub session: SessionId,
    /// Numbers its reads.
    pub request: u64,
}

/// What is wanted of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRead {
    /// Which log of the partition.
    pub creation: CreationId,
    /// The first record.
    pub first: TransactionId,
    /// The last one, were there room for so many.
    pub to: Mark,
    /// How many bytes at most; at least one record is wanted.
    pub max_bytes: u32,
}

/// Why the archive gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchiveFailure {
    /// It does not have the first record.
    Lacks,
    /// It can't be read now.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What comes of a coordinator that is no node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinatorEvent {
    /// It can be asked. What was asked before and not answered is not answered any more.
    Connected,
    /// It answered, or a watched key changed.
    Message(FromCoordinator),
    /// It can't be asked for now.
    Lost {
        /// Why, for people.
        reason: String,
    },
}

/// Something a node wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Dial; answered by `Opened` or `Closed`.
    Connect {
        /// The connection's name from now on.
        conn: ConnectionId,
        /// Whom to dial.
        address: Address,
    },
    /// Send a frame, in order after earlier ones of the connection.
    Send {
        /// The connection; a closed one swallows the frame.
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
    /// Add an entry to the journal, after earlier ones; answered by `Durable`.
    Append {
        /// The entry.
        entry: Entry,
        /// Its ticket.
        ticket: Ticket,
    },
    /// Read the bodies at these places of the journal; answered by `Read`.
    Read {
        /// The read's ticket.
        ticket: Ticket,
        /// Which bodies.
        places: Vec<Place>,
    },
    /// Read trimmed records from the archive; answered by `ArchiveRead`.
    ReadArchive {
        /// The read.
        ticket: ArchiveTicket,
        /// What is wanted.
        read: ArchiveRead,
    },
    /// No segment below this one is needed any more, neither its entries nor its bodies.
    Release {
        /// The lowest segment that is needed.
        below: u32,
    },
    /// Send `Timer` at this time. A later one replaces an earlier one.
    WakeAt(Time),
    /// Something an operator should see in the log.
    Report(Report),
    /// Stop this node: it must not go on.
    Stop {
        /// Why, for people.
        reason: String,
    },
    /// Ask a coordinator outside of the cluster, in order after what was asked before; answered by
    /// `Coordinator`.
    Coordinate(ToCoordinator),
    /// Bound an accepted connection no longer in what clients' ones are bounded in: a node of the
    /// cluster is at its other end.
    LiftBounds {
        /// The connection.
        conn: ConnectionId,
    },
    /// A later recovery may begin with this segment of the journal: a checkpoint begins in it that is
    /// complete, durable and was read back.
    ReplayFrom {
        /// The segment.
        segment: u32,
    },
}

/// An event worth a line in the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How grave.
    pub level: Level,
    /// The partition concerned, if one is.
    pub partition: Option<PartitionId>,
    /// The peer concerned, if one is.
    pub peer: Option<NodeId>,
    /// What happened and what it means.
    pub text: String,
}

/// How grave a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Routine.
    Info,
    /// Something to look at.
    Warning,
    /// Something is broken.
    Error,
}

/// What every part of a node has at hand during one step.
#[derive(Debug)]
pub struct Context<'a> {
    /// The node's clock.
    pub now: Time,
    /// Jitter and nonces.
    pub random: &'a mut Random,
    /// Numbers journal entries and reads.
    pub tickets: &'a mut Tickets,
    /// Where effects go.
    pub effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// Gives an entry to the journal.
    pub fn append(&mut self, entry: Entry) -> Ticket {
        self.tickets.appended.0 += 1;
        let ticket = self.tickets.appended;
        self.effects.push(Effect::Append { entry, ticket });
        ticket
    }

    /// Asks for bodies at places of the journal.
    pub fn read(&mut self, places: Vec<Place>) -> Ticket {
        self.tickets.read.0 += 1;
        let ticket = self.tickets.read;
        self.effects.push(Effect::Read { ticket, places });
        ticket
    }

    /// Tells the operator something.
    pub fn report(&mut self, level: Level, partition: Option<PartitionId>, text: String) {
        self.effects.push(Effect::Report(Report { level, partition, peer: None, text }));
    }
}

/// The last tickets handed out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tickets {
    /// The last entry's.
    pub appended: Ticket,
    /// The last read's.
    pub read: Ticket,
}
