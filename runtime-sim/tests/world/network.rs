//! Each fault of the network does what it says, and nothing else.

use std::time::Duration;

use crate::peer::{HOUR, Peer, Seen, address, connected, text};
use waltz_runtime::Net;
use waltz_runtime_sim::{Chance, Crash, Latency, Quality, simulate};

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(20);

fn reset() -> Seen {
    Seen::Closed("connection reset by peer".into())
}

fn is_time_out(seen: &[Seen]) -> bool {
    matches!(seen, [Seen::Closed(reason)] if reason.starts_with("timed out"))
}

#[test]
fn what_a_dialer_sends_before_the_connection_is_made_arrives_first() {
    simulate(1, HOUR, |world| async move {
        let (mut a, mut b) = (Peer::listening(&world, "a"), Peer::listening(&world, "b"));
        a.dial("b");
        a.say("early");
        assert_eq!(a.sees_within(SHORT).await, [Seen::Opened]);
        a.say("late");
        assert_eq!(b.sees_within(SHORT).await, [Seen::Opened, text("early"), text("late")]);
    });
}

#[test]
fn a_cut_swallows_one_direction_until_it_heals() {
    simulate(2, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        world.network().cut(&address("b"), &address("a"));
        a.say("there");
        b.say("back");
        assert_eq!(b.sees_within(SHORT).await, [text("there")]);
        assert_eq!(a.sees_within(Duration::from_secs(5)).await, []);
        world.network().heal(&address("b"), &address("a"));
        assert_eq!(a.sees_within(Duration::from_secs(5)).await, [text("back")]);
        assert_eq!(b.seen(), []);
    });
}

#[test]
fn a_sender_that_gets_no_answer_closes_while_its_peer_has_everything_and_stays_open() {
    simulate(3, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        world.network().cut(&address("b"), &address("a"));
        a.say("delivered");
        let seen = a.sees_within(LONG).await;
        assert!(is_time_out(&seen), "{seen:?}");
        assert_eq!(b.seen(), [text("delivered")]);
        world.network().heal_all();
        assert_eq!(b.sees_within(LONG).await, []);
        b.say("anyone?");
        assert_eq!(b.sees_within(LONG).await, [reset()]);
    });
}

#[test]
fn partitioned_groups_do_not_reach_each_other() {
    simulate(4, HOUR, |world| async move {
        let mut peers: Vec<_> =
            ["a", "b", "c"].map(|name| Peer::listening(&world, name)).into_iter().collect();
        world.network().partition(&[&[address("a"), address("b")], &[address("c")]]);
        peers[0].dial("b");
        assert_eq!(peers[0].sees_within(SHORT).await, [Seen::Opened]);
        for (from, to) in [(0, "c"), (2, "a"), (2, "b")] {
            peers[from].dial(to);
            let seen = peers[from].sees_within(Duration::from_secs(4)).await;
            assert!(is_time_out(&seen), "{from} to {to}: {seen:?}");
        }
        world.network().heal_all();
        peers[2].dial("a");
        assert_eq!(peers[2].sees_within(SHORT).await, [Seen::Opened]);
    });
}

#[test]
fn a_flapping_link_delays_but_delivers() {
    simulate(5, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        let (up, down) = (Duration::from_millis(500), Duration::from_millis(700));
        world.network().flap(&address("a"), &address("b"), up, down);
        let mut arrived = 0;
        for number in 0..20 {
            a.say(&number.to_string());
            arrived += b.sees_within(Duration::from_millis(100)).await.len();
        }
        assert!(arrived < 20, "something came late");
        arrived += b.sees_within(LONG).await.len();
        assert_eq!((arrived, a.seen()), (20, vec![]));
    });
}

#[test]
fn frames_arrive_once_and_in_order_however_packets_do() {
    for seed in 0..200 {
        simulate(seed, HOUR, |world| async move {
            let (mut a, mut b) = connected(&world).await;
            world.network().set_usual_quality(Quality {
                latency: Latency::micros(10, 50_000),
                loss: Chance::percent(20),
                duplication: Chance::percent(20),
                reset: Chance::NEVER,
            });
            let texts: Vec<_> = (0..30).map(|length| "x".repeat(length * 7)).collect();
            for said in &texts {
                a.say(said);
            }
            let expected: Vec<_> = texts.into_iter().map(Seen::Text).collect();
            assert_eq!(b.sees_within(LONG).await, expected);
        });
    }
}

#[test]
fn connections_overtake_each_other() {
    simulate(6, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        let first = a.conn;
        a.dial("b");
        a.sees_within(SHORT).await;
        b.seen();
        let latency = Latency::micros(10, 50_000);
        world.network().set_usual_quality(Quality { latency, ..Quality::default() });
        let second = a.conn;
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..20 {
            for (conn, said) in [(first, "first"), (second, "second")] {
                a.conn = conn;
                a.say(said);
            }
            orders.insert(format!("{:?}", b.sees_within(Duration::from_secs(1)).await));
        }
        assert_eq!(orders.len(), 2, "{orders:?}");
    });
}

#[test]
fn a_reset_is_seen_at_both_ends() {
    simulate(7, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        world.network().reset(&address("b"), &address("a"), Chance::ALWAYS);
        assert_eq!(a.sees_within(SHORT).await, [reset()]);
        assert_eq!(b.seen(), [reset()]);
        assert_eq!(world.network().open_connections(), 0);
    });
}

#[test]
fn a_link_of_bad_quality_resets_what_is_sent_over_it() {
    simulate(8, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        let quality = Quality { reset: Chance::ALWAYS, ..Quality::default() };
        world.network().set_quality(&address("a"), &address("b"), quality);
        b.say("fine");
        assert_eq!(a.sees_within(SHORT).await, [text("fine")]);
        a.say("not");
        assert_eq!(a.sees_within(SHORT).await, [reset()]);
        assert_eq!(b.seen().last(), Some(&reset()));
    });
}

#[test]
fn a_close_delivers_what_was_sent_before_it_and_says_nothing_to_its_own_side() {
    simulate(9, HOUR, |world| async move {
        let (mut a, mut b) = connected(&world).await;
        a.say("last words");
        a.close();
        let seen = b.sees_within(SHORT).await;
        assert_eq!(seen, [text("last words"), Seen::Closed("closed by peer".into())]);
        assert_eq!(a.sees_within(LONG).await, []);
        assert_eq!(world.network().open_connections(), 0);
    });
}

#[test]
fn a_dial_is_refused_where_nobody_listens_and_hangs_where_nothing_answers() {
    simulate(10, HOUR, |world| async move {
        let mut a = Peer::listening(&world, "a");
        let refused = [Seen::Closed("connection refused".into())];
        a.dial("nobody");
        assert_eq!(a.sees_within(SHORT).await, refused);
        let b = Peer::listening(&world, "b");
        world.crash(b.host.address(), Crash::Process);
        a.dial("b");
        assert_eq!(a.sees_within(SHORT).await, refused);
        let b = Peer::listening(&world, "b");
        world.crash(b.host.address(), Crash::Power);
        a.dial("b");
        assert_eq!(a.sees_within(Duration::from_millis(2_900)).await, []);
        let seen = a.sees_within(Duration::from_millis(200)).await;
        assert!(is_time_out(&seen), "{seen:?}");
    });
}

#[test]
fn a_killed_process_resets_its_connections_and_its_old_parts_do_nothing() {
    simulate(11, HOUR, |world| async move {
        let (mut a, mut dead) = connected(&world).await;
        world.crash(&address("b"), Crash::Process);
        assert_eq!(a.sees_within(SHORT).await, [reset()]);
        let mut b = Peer::listening(&world, "b");
        a.dial("b");
        assert_eq!(a.sees_within(SHORT).await, [Seen::Opened]);
        assert_eq!(b.seen(), [Seen::Opened]);
        dead.say("from the grave");
        dead.dial("a");
        dead.net.flush();
        drop(dead);
        a.say("hello");
        assert_eq!(b.sees_within(SHORT).await, [text("hello")]);
        assert_eq!(a.seen(), []);
    });
}

#[test]
fn the_peer_of_a_host_that_lost_power_learns_of_it_when_it_sends() {
    simulate(12, HOUR, |world| async move {
        let (mut a, b) = connected(&world).await;
        world.crash(b.host.address(), Crash::Power);
        assert_eq!(a.sees_within(LONG).await, []);
        a.say("still there?");
        assert_eq!(a.sees_within(Duration::from_secs(5)).await, []);
        let mut b = Peer::listening(&world, "b");
        assert_eq!(a.sees_within(Duration::from_secs(5)).await, [reset()]);
        assert_eq!(b.seen(), []);
    });
}

#[test]
fn a_crash_loses_what_was_under_way_in_some_runs_and_not_in_others() {
    let arrived = |seed| {
        simulate(seed, HOUR, |world| async move {
            let (mut a, mut b) = connected(&world).await;
            a.say("under way");
            world.crash(&address("a"), Crash::Power);
            b.sees_within(LONG).await == [text("under way")]
        })
    };
    let arrivals = (0..40).filter(|seed| arrived(*seed)).count();
    assert!((5..35).contains(&arrivals), "{arrivals} of 40 arrived");
}

#[test]
fn a_process_that_ends_by_itself_resets_its_connections() {
    simulate(13, HOUR, |world| async move {
        let (mut a, b) = connected(&world).await;
        drop(b);
        assert_eq!(a.sees_within(SHORT).await, [reset()]);
        a.dial("b");
        assert_eq!(a.sees_within(SHORT).await, [Seen::Closed("connection refused".into())]);
    });
}
