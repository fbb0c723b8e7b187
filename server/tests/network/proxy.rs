//! For where no namespaces can be made: a proxy in front of each node on loopback, which holds back
//! what passes while the node is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::links::{Link, Links, Machine};

/// How soon a healed link is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A proxy in front of one machine.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where others reach the machine.
    pub(crate) address: SocketAddr,
    target: watch::Sender<Option<String>>,
}

impl Proxy {
    /// Listens in front of a machine. Everybody else is far from it: as far as `others` is.
    pub(crate) async fn start(
        links: Arc<Links>,
        machine: Machine,
        others: Machine,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (target, known) = watch::channel(None::<String>);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(target) = known.borrow().clone() else { continue };
                tokio::spawn(join(stream, target, links.clone(), machine, others));
            }
        });
        Ok(Self { address, target })
    }

    /// Says where the machine listens itself.
    pub(crate) fn aim(&self, target: &str) {
        self.target.send_replace(Some(target.to_owned()));
    }
}

async fn join(
    near: TcpStream,
    target: String,
    links: Arc<Links>,
    machine: Machine,
    others: Machine,
) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let (inward, outward) = (links.clone(), links);
    tokio::join!(
        pump(near_read, far_write, || inward.between(others, machine)),
        pump(far_read, near_write, || outward.between(machine, others)),
    );
}

/// Passes bytes on one way, none while the link is cut.
async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    link: impl Fn() -> Link,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length) = from.read(&mut buffer).await {
        while link().is_cut {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::time::sleep(link().delay).await;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The other side sees the end, as without a proxy.
    let _ = to.shutdown().await;
}
