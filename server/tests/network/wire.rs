//! What joins the machines: every packet that one sends to another passes here, and is delayed,
//! lost or passed on as the links say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tun_rs::SyncDevice;
use waltz_core::time::Random;

use super::links::{Links, Machine};
use super::machines::machine_at;

const LONGEST_PACKET: usize = 1 << 16;
/// Where in a packet its destination is.
const DESTINATION: std::ops::Range<usize> = 16..20;
/// How long to wait when nothing is late.
const IDLE: Duration = Duration::from_secs(3600);

/// A packet on its way; the earliest due first, then in the order that they came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    number: u64,
    to: Machine,
    packet: Vec<u8>,
}

/// Begins to pass packets on between machines with these devices, in threads that end with the
/// process.
///
/// # Errors
/// When a thread can't be started.
pub(crate) fn start(devices: Vec<SyncDevice>, links: &Arc<Links>, seed: u64) -> io::Result<()> {
    let devices: Arc<[SyncDevice]> = devices.into();
    let (late, arriving) = mpsc::channel();
    let out = Arc::clone(&devices);
    thread::Builder::new().name("late".into()).spawn(move || deliver(&out, &arriving))?;
    for from in 0..devices.len() {
        let (devices, links) = (Arc::clone(&devices), Arc::clone(links));
        let (late, random) = (late.clone(), Random::new(seed ^ from as u64));
        let pass = move || pass_on(from, &devices, &links, &late, random);
        thread::Builder::new().name(format!("wire-{from}")).spawn(pass)?;
    }
    Ok(())
}

/// Reads what a machine sends.
fn pass_on(
    from: Machine,
    devices: &[SyncDevice],
    links: &Links,
    late: &Sender<Late>,
    mut random: Random,
) {
    let mut buffer = vec![0; LONGEST_PACKET];
    let mut number = 0;
    while let Ok(length) = devices[from].recv(&mut buffer) {
        let packet = &buffer[..length];
        let Some(to) = destination(packet).filter(|to| *to < devices.len()) else { continue };
        let link = links.between(from, to);
        if link.is_cut || random.bits() % 100 < link.loss {
            continue;
        }
        if link.delay.is_zero() {
            // A machine that can't take a packet has lost it.
            let _ = devices[to].send(packet);
            continue;
        }
        number += 1;
        let due = Instant::now() + link.delay;
        if late.send(Late { due, number, to, packet: packet.to_vec() }).is_err() {
            return;
        }
    }
}

/// Delivers late packets when they are due.
fn deliver(devices: &[SyncDevice], arriving: &Receiver<Late>) {
    let mut waiting = BinaryHeap::new();
    loop {
        let next = waiting.peek().map(|Reverse(late): &Reverse<Late>| late.due);
        let patience = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        match arriving.recv_timeout(patience) {
            Ok(late) => waiting.push(Reverse(late)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(late) = waiting.peek_mut()
            && late.0.due <= Instant::now()
        {
            let Reverse(late) = std::collections::binary_heap::PeekMut::pop(late);
            let _ = devices[late.to].send(&late.packet);
        }
    }
}

/// To which machine a packet goes, if it is one of version 4.
fn destination(packet: &[u8]) -> Option<Machine> {
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let octets: [u8; 4] = packet.get(DESTINATION)?.try_into().ok()?;
    is_v4.then(|| machine_at(Ipv4Addr::from(octets))).flatten()
}
