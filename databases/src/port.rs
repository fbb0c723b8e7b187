//! A port that stays a server's while the server is killed.

use std::net::{Ipv4Addr, SocketAddrV4};
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
            true => Ok(Self::Held(Held::new()?)),
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

/// A port of loopback that the system chose.
///
/// A socket that is bound to it and never listens keeps the system from choosing it for anybody
/// else. Who asks for this very port, and allows reuse as servers do, may listen on it.
#[derive(Debug)]
pub(crate) struct Held {
    number: u16,
    _held: OwnedFd,
}

impl Held {
    fn new() -> Result<Self, ServerError> {
        hold().map_err(|error| ServerError::system("hold a port for a server")(error.into()))
    }
}

fn hold() -> rustix::io::Result<Held> {
    let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&held, true)?;
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let address = SocketAddrV4::try_from(getsockname(&held)?)?;
    Ok(Held { number: address.port(), _held: held })
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
