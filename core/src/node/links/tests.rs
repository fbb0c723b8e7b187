//! Two nodes' links against each other: what is agreed on, and what is refused.

use super::*;
use crate::id::{CreationId, Epoch, Mark, PartitionId, SessionId, TransactionId};
use crate::io::Tickets;
use crate::time::Random;
use crate::wire::{FromReplica, ReplicaAnswer, ReplicaRequest, ToReplica, Welcome};

pub(super) const CLUSTER: ClusterKey = ClusterKey(7);
pub(super) const DIALLER: NodeId = NodeId(1);
pub(super) const ACCEPTOR: NodeId = NodeId(2);

/// The dialler's end of the one connection.
pub(super) fn dialled_end() -> ConnectionId {
    ConnectionId::dialed(0)
}

/// The acceptor's end.
pub(super) fn accepted_end() -> ConnectionId {
    ConnectionId::accepted(0)
}

/// The links of one node, and what they want done.
pub(super) struct Rig {
    pub(super) links: Links,
    random: Random,
    tickets: Tickets,
    pub(super) effects: Vec<Effect>,
    events: Vec<LinkEvent>,
}

impl Rig {
    fn new(node: NodeId, newest: Version) -> Self {
        Self::with_access(node, newest, AccessConfig::default())
    }

    pub(super) fn with_access(node: NodeId, newest: Version, access: AccessConfig) -> Self {
        let links = Links::new(node, CLUSTER, newest, LinkConfig::default(), access);
        let (random, tickets) = (Random::new(1), Tickets::default());
        Self { links, random, tickets, effects: Vec::new(), events: Vec::new() }
    }

    pub(super) fn step(
        &mut self,
        act: impl FnOnce(&mut Links, &mut Context<'_>, &mut Vec<LinkEvent>),
    ) {
        let Self { links, random, tickets, effects, events } = self;
        act(links, &mut Context { now: Time(1), random, tickets, effects }, events);
    }

    pub(super) fn receive(&mut self, conn: ConnectionId, message: &Message) {
        self.step(|links, cx, events| links.on_received(cx, conn, message.frame(), events));
    }

    /// What was sent since this was asked last.
    pub(super) fn sent(&mut self) -> Vec<Message> {
        let sent = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Send { frame, .. } => Some(Message::decode(&frame.head).expect("sound")),
            _ => None,
        });
        sent.collect()
    }

    /// Why connections were closed since anything was asked last.
    pub(super) fn closed(&mut self) -> Vec<String> {
        let closed = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Close { reason, .. } => Some(reason),
            _ => None,
        });
        closed.collect()
    }
}

/// A node that has dialled another one, and said hello.
fn dialled(newest: Version) -> (Rig, Message) {
    let mut dialler = Rig::new(DIALLER, newest);
    dialler.step(|links, cx, events| {
        let wanted = links.want(cx, Peer::Node(ACCEPTOR), &Address("there".to_owned()));
        assert_eq!(wanted, []);
        links.on_opened(cx, dialled_end(), None, events);
    });
    let hello = dialler.sent().pop().expect("it says hello");
    (dialler, hello)
}

/// A dialler and an acceptor that speak up to these versions, after their hello.
fn connected(dialler: Version, acceptor: Version) -> (Rig, Rig) {
    let ((mut dialler, hello), mut acceptor) = (dialled(dialler), Rig::new(ACCEPTOR, acceptor));
    acceptor.step(|links, cx, events| links.on_opened(cx, accepted_end(), None, events));
    acceptor.receive(accepted_end(), &hello);
    let welcome = acceptor.sent().pop().expect("it is welcomed");
    dialler.receive(dialled_end(), &welcome);
    (dialler, acceptor)
}

fn asks(request: ReplicaRequest) -> Message {
    let session = SessionId { epoch: Epoch(1), server: DIALLER, nonce: 1 };
    let (partition, creation) = (PartitionId(0), CreationId(1));
    Message::ToReplica(ToReplica { partition, creation, session, request })
}

fn answers(answer: ReplicaAnswer) -> Message {
    let session = SessionId { epoch: Epoch(1), server: DIALLER, nonce: 1 };
    Message::FromReplica(FromReplica { partition: PartitionId(0), session, answer })
}

#[test]
fn the_newest_common_version_is_spoken_in_both_directions() {
    let (old, new) = (Version::FIRST, Version::UPKEEP);
    for (here, there, agreed) in
        [(old, old, old), (old, new, old), (new, old, old), (new, new, new)]
    {
        let (dialler, acceptor) = connected(here, there);
        assert_eq!(dialler.events, [LinkEvent::Up(Peer::Node(ACCEPTOR), agreed)]);
        assert_eq!(dialler.links.version(Peer::Node(ACCEPTOR)), Some(agreed));
        let damaged = answers(ReplicaAnswer::Damaged { ranges: Vec::new() });
        assert_eq!(acceptor.links.takes(accepted_end(), &damaged), agreed == new);
        assert!(acceptor.links.takes(accepted_end(), &answers(ReplicaAnswer::Joined)));
    }
}

#[test]
fn what_is_newer_than_agreed_is_refused_and_its_connection_closed() {
    let trim = asks(ReplicaRequest::Trim { start: Mark::at(TransactionId(3)) });
    let (_, mut acceptor) = connected(Version::NEWEST, Version::FIRST);
    acceptor.receive(accepted_end(), &asks(ReplicaRequest::Resume));
    assert_eq!(acceptor.events.len(), 1, "what version 1 has is taken");
    acceptor.receive(accepted_end(), &trim);
    let reason = "message of protocol version 2, where version 1 was agreed on";
    assert_eq!(acceptor.closed(), [reason]);
    assert_eq!(acceptor.events[1..], [LinkEvent::Gone(accepted_end())]);

    let changed = ReplicaAnswer::Changed { at: crate::id::Position::default() };
    let (mut dialler, _) = connected(Version::FIRST, Version::NEWEST);
    dialler.receive(dialled_end(), &answers(changed));
    assert_eq!(dialler.closed(), [reason]);
    assert_eq!(dialler.events.last(), Some(&LinkEvent::Down(Peer::Node(ACCEPTOR))));

    let (_, mut acceptor) = connected(Version::NEWEST, Version::NEWEST);
    acceptor.receive(accepted_end(), &trim);
    assert_eq!((acceptor.closed(), acceptor.events.len()), (Vec::new(), 1));
}

#[test]
fn a_welcome_in_a_version_that_was_not_offered_is_not_taken() {
    for version in [0, 2, 4] {
        let (mut dialler, _) = dialled(Version::FIRST);
        let welcome = Welcome { version: Version(version), cluster: CLUSTER, node: ACCEPTOR };
        dialler.receive(dialled_end(), &Message::Welcome(welcome));
        assert_eq!(dialler.links.version(Peer::Node(ACCEPTOR)), None);
        assert_eq!(dialler.closed(), ["it wants to speak a version that was not offered"]);
    }
}

#[test]
fn who_speaks_older_versions_than_the_cluster_takes_is_told_so() {
    let (_, hello) = dialled(Version::SPACE);
    let mut acceptor = Rig::new(ACCEPTOR, Version::NEWEST);
    acceptor.links.require(Version::LONG);
    acceptor.step(|links, cx, events| links.on_opened(cx, accepted_end(), None, events));
    acceptor.receive(accepted_end(), &hello);
    let (oldest, newest) = (Version::LONG, Version::NEWEST);
    assert_eq!(acceptor.sent(), [Message::Refused(Refusal::Version { oldest, newest })]);
}
