//! Machines: network namespaces with a device each, or this machine under several ports.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::links::{Links, Machine};
use super::wire;

/// Where `ip` keeps namespaces by their names.
const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "waltz";
const DEVICE: &str = "wire";
/// Large packets, since each costs system calls here.
const MTU: u32 = 9000;

/// Machines on one network, each a network namespace of its own. They go when dropped.
#[derive(Debug)]
pub(crate) struct Machines {
    namespaces: Vec<Namespace>,
}

/// One machine's name; the namespace goes when it is dropped.
#[derive(Debug)]
struct Namespace(String);

impl Machines {
    /// Makes so many machines, joined by links.
    ///
    /// # Errors
    /// When this process may not, or lacks what it takes: root, `ip`, a tunnel device.
    pub(crate) fn make(links: &Arc<Links>, machines: usize, seed: u64) -> anyhow::Result<Self> {
        remove_leftovers();
        let (mut namespaces, mut devices) = (Vec::new(), Vec::new());
        for machine in 0..machines {
            let namespace = Namespace::make(format!("{PREFIX}-{}-{machine}", std::process::id()))?;
            devices.push(namespace.join(host(machine))?);
            namespaces.push(namespace);
        }
        wire::start(devices, links, seed)?;
        Ok(Self { namespaces })
    }

    /// What a command begins with to be run on a machine.
    pub(crate) fn prefix(&self, machine: Machine) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespaces[machine].0].map(str::to_owned).to_vec()
    }

    /// Has this thread, and those that it starts from now on, be on a machine.
    pub(crate) fn enter(&self, machine: Machine) -> anyhow::Result<()> {
        self.namespaces[machine].enter().context("could not enter a network namespace")
    }
}

/// A machine's address.
pub(crate) fn host(machine: Machine) -> Ipv4Addr {
    let last = u8::try_from(machine + 1).expect("there are few machines");
    Ipv4Addr::new(10, 0, 0, last)
}

/// Whose address it is.
pub(crate) fn machine_at(host: Ipv4Addr) -> Option<Machine> {
    let [10, 0, 0, last] = host.octets() else { return None };
    usize::from(last).checked_sub(1)
}

impl Namespace {
    fn make(name: String) -> anyhow::Result<Self> {
        ip(&["netns", "add", &name])?;
        Ok(Self(name))
    }

    /// Gives it a device with an address; what is sent to others is read from the device.
    fn join(&self, host: Ipv4Addr) -> anyhow::Result<SyncDevice> {
        let make = || {
            self.enter()?;
            DeviceBuilder::new().name(DEVICE).build_sync()
        };
        let made = std::thread::scope(|scope| scope.spawn(make).join());
        let device = made.expect("it doesn't panic").context("could not make a tunnel device")?;
        let (name, mtu) = (self.0.as_str(), MTU.to_string());
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "address", "add", &format!("{host}/24"), "dev", DEVICE])?;
        ip(&["-n", name, "link", "set", DEVICE, "mtu", &mtu, "up"])?;
        Ok(device)
    }

    fn enter(&self) -> io::Result<()> {
        let namespace = File::open(Path::new(NAMESPACES).join(&self.0))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.0]) {
            tracing::warn!("a network namespace stays: {error:#}");
        }
    }
}

/// Namespaces of runs that were killed.
fn remove_leftovers() {
    let Ok(namespaces) = std::fs::read_dir(NAMESPACES) else { return };
    for name in namespaces.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let mut parts = name.split('-');
        let process = (parts.next() == Some(PREFIX)).then(|| parts.next()).flatten();
        let is_gone = |process: &str| !Path::new("/proc").join(process).exists();
        if process.is_some_and(is_gone) {
            drop(Namespace(name));
        }
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("could not run `ip`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}` failed: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}
