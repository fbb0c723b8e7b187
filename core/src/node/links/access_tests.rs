//! Who is let in, and who is turned away.

use super::tests::{ACCEPTOR, CLUSTER, DIALLER, Rig, accepted_end, dialled_end};
use super::*;
use crate::access::{AccessRefusal, Bearer, TokenHash};
use crate::id::PartitionId;
use crate::wire::{ClientRequest, OperatorRequest};

fn rules() -> AccessConfig {
    let mut access = AccessConfig::default();
    access.allow(Bearer::Name("n1".into()), Role::Node);
    access.allow(Bearer::Name("reader".into()), Role::Reader);
    access.allow(Bearer::Token(TokenHash::of("secret")), Role::Admin);
    access
}

/// What an acceptor with rules answers to a hello by whoever has this certificate.
fn greeted(name: Option<&str>, who: Who, newest: Version) -> (Rig, Message) {
    let mut rig = Rig::with_access(ACCEPTOR, Version::NEWEST, rules());
    let identity = name.map(|name| [name].into_iter().collect());
    rig.step(|links, cx, events| links.on_opened(cx, accepted_end(), identity.as_ref(), events));
    let hello = Hello { oldest: Version::OLDEST, newest, cluster: Some(CLUSTER), who };
    rig.receive(accepted_end(), &Message::Hello(hello));
    let answer = rig.effects.iter().find_map(|effect| match effect {
        Effect::Send { frame, .. } => Some(Message::decode(&frame.head).expect("sound")),
        _ => None,
    });
    (rig, answer.expect("a hello is answered"))
}

#[test]
fn only_who_has_the_role_speaks_as_a_node() {
    let node = Who::Node(DIALLER);
    let (_, answer) = greeted(Some("n1"), node, Version::NEWEST);
    assert!(matches!(answer, Message::Welcome(_)), "{answer:?}");
    for name in [None, Some("reader")] {
        let (mut rig, answer) = greeted(name, node, Version::NEWEST);
        let refusal = AccessRefusal::NotANode;
        assert_eq!(answer, Message::Refused(Refusal::Access(refusal)));
        assert_eq!(rig.closed(), [refusal.to_string()]);
        // What comes after it is not heard.
        rig.receive(accepted_end(), &Message::Ping);
        assert_eq!(rig.sent(), []);
    }
}

#[test]
fn a_client_without_a_role_is_let_in_only_if_it_can_present_a_token() {
    let client = Who::Client(ClientId(5));
    let (_, answer) = greeted(Some("reader"), client, Version::FIRST);
    assert!(matches!(answer, Message::Welcome(_)), "{answer:?}");
    let (_, answer) = greeted(None, client, Version::FIRST);
    assert_eq!(answer, Message::Refused(Refusal::Protocol), "it does not know the reason");
    let (mut rig, answer) = greeted(None, client, Version::NEWEST);
    assert!(matches!(answer, Message::Welcome(_)), "{answer:?}");
    assert!(!rig.links.rights(accepted_end()).is_client());

    rig.step(|links, cx, events| links.authenticate(cx, accepted_end(), "secret", events));
    assert!(rig.links.rights(accepted_end()).may(Role::Admin));
    assert!(!rig.links.rights(accepted_end()).may(Role::Node));
    rig.step(|links, cx, events| links.authenticate(cx, accepted_end(), "secre", events));
    assert_eq!(rig.closed(), [AccessRefusal::Token.to_string()]);
    assert!(!rig.links.rights(accepted_end()).is_client(), "it is gone");
}

/// What is long takes up much before anything can be said of it.
#[test]
fn of_clients_only_operators_say_anything_long() {
    let loads = (0..9000).map(|one| (PartitionId(one), 7)).collect();
    let request = ClientRequest::Operate { call: 1, request: OperatorRequest::SetLoads { loads } };
    let frame = Message::Client(request).framed(Bytes::new(), Version::NEWEST).expect("it fits");
    for (is_admin, heard) in [(true, 1), (false, 0)] {
        let (mut rig, _) = greeted(Some("reader"), Who::Client(ClientId(5)), Version::NEWEST);
        rig.step(|links, cx, events| {
            if is_admin {
                links.authenticate(cx, accepted_end(), "secret", events);
            }
            links.on_received(cx, accepted_end(), frame.clone(), events);
            let messages = events.iter().filter(|event| matches!(event, LinkEvent::Message(..)));
            assert_eq!(messages.count(), heard);
        });
        assert_eq!(rig.closed().is_empty(), is_admin);
    }
}

#[test]
fn no_hello_is_said_to_who_is_no_node() {
    for (name, hellos) in [("n1", 1), ("reader", 0)] {
        let mut rig = Rig::with_access(DIALLER, Version::NEWEST, rules());
        let identity: Identity = [name].into_iter().collect();
        rig.step(|links, cx, events| {
            events.extend(links.want(cx, Peer::Node(ACCEPTOR), &Address("there".to_owned())));
            links.on_opened(cx, dialled_end(), Some(&identity), events);
        });
        assert_eq!(rig.sent().len(), hellos, "{name}");
    }
}

#[test]
fn only_a_node_that_is_let_in_is_bounded_no_longer() {
    let (node, client) = (Who::Node(DIALLER), Who::Client(ClientId(5)));
    for (name, who, is_lifted) in [
        ("n1", node, true),
        ("reader", node, false),
        ("reader", client, false),
        ("n1", client, false),
    ] {
        let (rig, answer) = greeted(Some(name), who, Version::NEWEST);
        let lifted = Effect::LiftBounds { conn: accepted_end() };
        assert_eq!(rig.effects.contains(&lifted), is_lifted, "{name} as {who:?}: {answer:?}");
    }
}
