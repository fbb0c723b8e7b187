//! A port of this machine that stays a server's while the server is killed.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use crate::error::ServerError;

/// A port of loopback that the system chose.
///
/// A socket that is bound to it and never listens keeps the system from choosing it for anybody
/// else. Who asks for this very port, and allows reuse as servers do, may listen on it.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    pub(crate) fn hold() -> Result<Self, ServerError> {
        held().map_err(|error| ServerError::system("hold a port for a server")(error.into()))
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn held() -> rustix::io::Result<Port> {
    let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&held, true)?;
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let address = SocketAddrV4::try_from(getsockname(&held)?)?;
    Ok(Port { number: address.port(), _held: held })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_server_listens_on_a_held_port_again_and_again() {
        let port = Port::hold().expect("a port");
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
        let held: Vec<Port> = (0..100).map(|_| Port::hold().expect("a port")).collect();
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
    }
}
