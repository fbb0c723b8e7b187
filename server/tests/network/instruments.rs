//! Whether the network does what it is told, before anything is concluded from it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::links::{Links, Machine};
use super::machines::{Machines, host};

/// How long nothing must come over a link that is cut.
const SILENCE: Duration = Duration::from_millis(200);
/// How long a packet may take.
const PATIENCE: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_millis(50);

/// Sends packets between two machines over links in every state.
///
/// # Errors
/// When a packet comes that should not, or does not that should.
pub(crate) fn check(machines: &Machines, links: &Links) -> anyhow::Result<()> {
    let (one, two) = (socket(machines, 0)?, socket(machines, 1)?);
    let (there, back) = (two.local_addr()?, one.local_addr()?);
    let passes = |from: &UdpSocket, to: &UdpSocket, address, patience| -> anyhow::Result<bool> {
        to.set_read_timeout(Some(patience))?;
        from.send_to(b"packet", address)?;
        Ok(to.recv(&mut [0; 16]).is_ok())
    };
    ensure!(passes(&one, &two, there, PATIENCE)?, "a link that is whole passes nothing");
    links.change(&[0], &[1], |link| link.is_cut = true);
    ensure!(!passes(&one, &two, there, SILENCE)?, "a link that is cut passes something");
    ensure!(passes(&two, &one, back, PATIENCE)?, "a cut link is cut both ways");
    links.heal();
    links.change(&[0], &[1], |link| link.loss = 100);
    ensure!(!passes(&one, &two, there, SILENCE)?, "a link that loses everything passes something");
    links.heal();
    links.change(&[1], &[0], |link| link.delay = DELAY);
    let began = Instant::now();
    ensure!(passes(&two, &one, back, PATIENCE)?, "a slow link passes nothing");
    ensure!(began.elapsed() >= DELAY, "a slow link is fast");
    links.heal();
    ensure!(passes(&one, &two, there, PATIENCE)?, "a healed link passes nothing");
    Ok(())
}

fn socket(machines: &Machines, machine: Machine) -> anyhow::Result<UdpSocket> {
    let bind = || {
        machines.enter(machine)?;
        UdpSocket::bind((host(machine), 0)).context("could not bind to a machine's address")
    };
    std::thread::scope(|scope| scope.spawn(bind).join()).expect("it doesn't panic")
}
