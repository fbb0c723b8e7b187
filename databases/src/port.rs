//! A port that stays a server's while the server is killed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use crate::error::ServerError;
use crate::place::Place;

/// A port that is a server's alone.
#[derive(Debug)]
pub(crate) enum Port {
    /// On loopback, where others may want the same.
    Held(Held),
    /// On an address that nobody else has.
    Usual(u16),
}

impl Port {
    /// A port for a server at a place: the usual one, except on loopback.
    pub(crate) fn at(place: &Place, usual: u16) -> Result<Self, ServerError> {
        match place.host.is_loopback() {
            true => Held::new(IpAddr::V4(Ipv4Addr::LOCALHOST))
                .map(Self::Held)
                .map_err(ServerError::system("hold a port for a server")),
            false => Ok(Self::Usual(usual)),
        }
    }

    pub(crate) fn number(&self) -> u16 {
        match self {
            Self::Held(held) => held.number,
            Self::Usual(number) => *number,
        }
    }
}

/// A port that the system chose, held for a server that is killed and started again.
///
/// A socket that is bound to it and never listens keeps the system from choosing it for anybody
/// else, a connection to somewhere else among them. Who asks for this very port, and allows reuse
/// as servers do, may listen on it.
#[derive(Debug)]
pub struct Held {
    number: u16,
    _held: OwnedFd,
}

impl Held {
    /// Holds a port of an address of this machine until it is dropped.
    ///
    /// # Errors
    /// When the address is none of this machine's, or has no port left.
    pub fn new(host: IpAddr) -> io::Result<Self> {
        let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let held = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&held, true)?;
        bind(&held, &SocketAddr::new(host, 0))?;
        let address = SocketAddr::try_from(getsockname(&held)?)?;
        Ok(Self { number: address.port(), _held: held })
    }

    /// The port.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_server_listens_on_a_held_port_again_and_again() {
        let port = Port::at(&Place::default(), 1).expect("a port");
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..2 {
            assert!(TcpStream::connect(address).is_err(), "nobody listens");
            // The standard library allows reuse, as servers do.
            let listener = TcpListener::bind(address).expect("it is free");
            TcpStream::connect(address).expect("it listens");
            drop(listener);
        }
    }

    #[test]
    fn nobody_else_is_given_a_held_port() {
        let hold = |_| Port::at(&Place::default(), 1).expect("a port");
        let held: Vec<Port> = (0..100).map(hold).collect();
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
    }
}
