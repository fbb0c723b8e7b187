//! Where a server runs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// A machine, or a network namespace that stands for one.
///
/// ```
/// use waltz_databases::Place;
///
/// let prefix = ["ip", "netns", "exec", "second"].map(str::to_owned).to_vec();
/// let second = Place { prefix, host: [10, 0, 0, 2].into() };
/// assert_ne!(second, Place::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What a command begins with to be run there; nothing on this machine.
    pub prefix: Vec<String>,
    /// The address to listen on.
    pub host: Ipv4Addr,
}

impl Default for Place {
    /// This machine, on loopback.
    fn default() -> Self {
        Self { prefix: Vec::new(), host: Ipv4Addr::LOCALHOST }
    }
}

impl Place {
    /// A command that runs a program there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self.prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }
}
