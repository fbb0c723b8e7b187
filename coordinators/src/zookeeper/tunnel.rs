//! A way to a member that TLS secures.
//!
//! The client speaks to a port of loopback, and what it says goes to the member through TLS: the same
//! TLS as everywhere else, whose certificates change while it is in use. (The client's own would bring
//! another cryptographic library, and could not say why a handshake failed.) Other users of this
//! machine are turned away from the port: the system says whose a connection is.
//!
//! ```text
//!  client ── 127.0.0.1 ──▶ tunnel ══ TLS ══▶ member
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use waltz_runtime_tokio::Tls;

use super::peer::is_ours;
use crate::dial::{Failure, dial};

/// A port of loopback that leads to a member; closed when dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    address: SocketAddr,
    /// Why the last connection came to nothing, if it did.
    failure: Failure,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens one, in the tokio runtime this is called in.
    pub(super) fn open(member: &str, tls: &Tls) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let failure = Failure::default();
        let task = tokio::spawn(accept(listener, member.to_owned(), tls.clone(), failure.clone()));
        Ok(Self { address, failure, task })
    }

    /// Where it begins, as `HOST:PORT`.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.told()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, member: String, tls: Tls, failure: Failure) {
    // Connections end with the tunnel.
    let mut passing = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = passing.join_next() => continue,
        };
        // Without descriptors the client can't be told anything: it gives up in time.
        let Ok((client, _)) = accepted else { continue };
        let (member, tls, failure) = (member.clone(), tls.clone(), failure.clone());
        passing.spawn(async move {
            let mut client = client;
            let passed = pass(&mut client, &member, &tls).await;
            // The client hears of the end when this is dropped: the reason is there by then.
            failure.note(passed.err());
        });
    }
}

/// Passes everything between the client and the member, until one of them ends.
async fn pass(client: &mut TcpStream, member: &str, tls: &Tls) -> Result<(), String> {
    check(client).map_err(|error| format!("no way through TLS: {error}"))?;
    client.set_nodelay(true).map_err(|error| error.to_string())?;
    let (mut from_member, mut to_member) = split(dial(member, tls, &[], Failure::default()).await?);
    let (mut from_client, mut to_client) = client.split();
    let mut is_answered = false;
    let answers = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match from_member.read(&mut buffer).await? {
                0 => return io::Result::Ok(()),
                bytes => {
                    is_answered = true;
                    to_client.write_all(&buffer[..bytes]).await?;
                }
            }
        }
    };
    let ended = tokio::select! {
        ended = answers => ended,
        asked = copy(&mut from_client, &mut to_member) => match asked {
            Ok(_) => to_member.shutdown().await,
            Err(error) => Err(error),
        },
    };
    match ended {
        _ if is_answered => Ok(()),
        Ok(()) => Err(turned_away("it closed the connection")),
        Err(error) => Err(turned_away(&error.to_string())),
    }
}

/// Who was let in and is sent away without an answer has the wrong certificate, or none.
fn turned_away(reason: &str) -> String {
    format!(
        "it ended the connection after the TLS handshake, as for want of a certificate ({reason})"
    )
}

/// Makes sure that a connection is of this user of the machine.
fn check(client: &TcpStream) -> io::Result<()> {
    match (client.peer_addr()?, client.local_addr()?) {
        (SocketAddr::V4(peer), SocketAddr::V4(local)) if is_ours(peer, local)? => Ok(()),
        (peer, _) => Err(io::Error::other(format!("{peer} is another user's"))),
    }
}
