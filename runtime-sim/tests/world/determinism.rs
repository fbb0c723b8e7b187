//! One seed, one run: whatever differs between two runs of a seed is a leak.

use std::future::poll_fn;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::peer::{HOUR, address};
use bytes::Bytes;
use madsim::time::sleep;
use waltz_core::io::ConnectionId;
use waltz_core::wire::Frame;
use waltz_runtime::disk::Disk;
use waltz_runtime::{Net, NetEvent, Runtime, Timer};
use waltz_runtime_sim::{Chance, Crash, Latency, Quality, SimHost, SimWorld, simulate};

const HOSTS: [&str; 3] = ["a", "b", "c"];
const SEED_VARIABLE: &str = "WALTZ_SIMULATE_SEED";

/// Dials both others again and again, sends them random bytes, writes what comes to its disk.
async fn babble(host: SimHost) {
    let (mut net, mut timer, mut disk) = (host.listener(), host.timer(), host.disk());
    let runtime = host.runtime();
    let file = disk.create_zeroed("heard", 1 << 16).expect("there is room");
    let (mut dials, mut events) = (0, Vec::new());
    loop {
        let deadline = timer.now() + Duration::from_millis(50);
        for to in HOSTS.map(address).iter().filter(|to| *to != host.address()) {
            dials += 1;
            let conn = ConnectionId::dialed(dials);
            net.connect(conn, to);
            let payload = Bytes::copy_from_slice(&runtime.random().to_le_bytes());
            net.send(conn, Frame { head: Bytes::from_static(b"head"), payload });
            net.flush();
        }
        let mut awake = false;
        while !awake {
            poll_fn(|cx| {
                awake = timer.poll_until(cx, Some(deadline)).is_ready();
                if net.poll(cx, &mut events).is_ready() || awake {
                    return std::task::Poll::Ready(());
                }
                std::task::Poll::Pending
            })
            .await;
            for event in events.drain(..) {
                if let NetEvent::Received { frame, .. } = event {
                    let offset = u64::from(frame.payload[0]) * 256;
                    disk.write_at(&file, offset, &[frame.payload]).expect("the disk is sound");
                }
            }
        }
    }
}

async fn scenario(world: SimWorld) -> u64 {
    let mut random = world.random();
    world.network().set_usual_quality(Quality {
        latency: Latency::micros(50, 20_000),
        loss: Chance::percent(3),
        duplication: Chance::percent(3),
        reset: Chance::percent(1),
    });
    for host in HOSTS {
        drop(world.start(&address(host), babble));
    }
    for _ in 0..20 {
        sleep(random.between(Duration::ZERO, Duration::from_millis(300))).await;
        let host = address(HOSTS[random.bits() as usize % HOSTS.len()]);
        match random.bits() % 4 {
            0 => world.network().cut(&host, &address("a")),
            1 => world.network().heal_all(),
            2 => world.clocks().jump(&host, Duration::from_millis(70)),
            _ => {
                world.crash(&host, Crash::Power);
                drop(world.start(&host, babble));
            }
        }
    }
    assert!(world.trace().events() > 500, "{} events", world.trace().events());
    world.trace().hash()
}

fn trace_of(seed: u64) -> u64 {
    simulate(seed, HOUR, scenario)
}

#[test]
fn one_seed_gives_one_trace_and_another_gives_another() {
    let traces: std::collections::BTreeSet<_> = (0..5).map(trace_of).collect();
    assert_eq!(traces.len(), 5);
    assert_eq!(traces, (0..5).map(trace_of).collect());
}

#[test]
fn one_seed_gives_one_trace_in_every_process() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let trace = trace_of(seed.parse().expect("the parent gave a number"));
        writeln!(std::io::stdout(), "trace {trace:016x}").expect("the parent reads");
        return;
    }
    let in_a_process_of_its_own = || {
        let this = std::env::current_exe().expect("a test has an executable");
        let output = Command::new(this)
            .args([
                "--exact",
                "determinism::one_seed_gives_one_trace_in_every_process",
                "--nocapture",
            ])
            .env(SEED_VARIABLE, "11")
            .output()
            .expect("the test runs again");
        let printed = String::from_utf8(output.stdout).expect("a test prints text");
        let found = printed.lines().find_map(|line| line.split_once("trace "));
        found.expect("a trace was printed").1.to_owned()
    };
    let here = format!("{:016x}", trace_of(11));
    assert_eq!([in_a_process_of_its_own(), in_a_process_of_its_own()], [here.clone(), here]);
}
