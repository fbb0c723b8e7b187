//! Whose a connection on loopback is.

use std::io;
use std::net::SocketAddrV4;

use rustix::process::geteuid;

/// The connections of this network namespace, a line each.
const TABLE: &str = "/proc/self/net/tcp";

/// Whether the other end of a connection belongs to the user that this process runs as.
pub(super) fn is_ours(peer: SocketAddrV4, local: SocketAddrV4) -> io::Result<bool> {
    let table = std::fs::read_to_string(TABLE)?;
    Ok(owner(&table, peer, local) == Some(geteuid().as_raw()))
}

/// The user that a connection's end belongs to: the end at the first address.
fn owner(table: &str, end: SocketAddrV4, other: SocketAddrV4) -> Option<u32> {
    let (end, other) = (written(end), written(other));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next()? == end && fields.next()? == other;
        // The state, the queues, the timer and what was sent again come between.
        is_it.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
}

/// An address as the table has it: bytes as in memory, read as a number of this machine.
fn written(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => panic!("{address} is of loopback"),
        }
    }

    #[test]
    fn this_process_is_found_to_be_its_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, local) = (dialled.local_addr().unwrap(), dialled.peer_addr().unwrap());
        assert!(is_ours(v4(peer), v4(local)).unwrap());
    }

    #[test]
    fn ends_are_told_apart_by_both_addresses() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let line = |end, other, user| {
            let (end, other) = (written(end), written(other));
            format!(
                "   1: {end} {other} 01 00000000:00000000 00:00000000 00000000  {user}        0 9\n"
            )
        };
        let table = line(at(1), at(2), 7) + &line(at(2), at(1), 8) + &line(at(1), at(3), 9);
        assert_eq!(owner(&table, at(1), at(2)), Some(7));
        assert_eq!(owner(&table, at(2), at(1)), Some(8));
        assert_eq!(owner(&table, at(3), at(1)), None);
    }
}
