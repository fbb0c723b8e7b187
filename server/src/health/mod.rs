//! Whether the node lives, is ready, and what it counts: over HTTP, for whoever operates it.
//!
//! ```text
//!   GET /livez    the node's loop turns: it answered in time
//!   GET /readyz   it is registered, and everything assigned to it can be appended to
//!   GET /metrics  what it counts, as Prometheus reads it
//! ```
//!
//! The endpoint has a thread and a runtime of its own. It asks the node's loop, which answers between
//! two turns; it takes nothing from it otherwise, and a loop that hangs does not keep it from saying
//! so. It knows no secrets and changes nothing.

mod port;
mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use waltz_archive::ArchiveStatistics;
use waltz_runtime_tokio::JournalStatistics;

use crate::config::Settings;
pub use port::{ObserverPort, Watcher, observer};

/// A socket on which the endpoint will answer.
#[derive(Debug)]
pub struct HealthListener {
    listener: TcpListener,
    address: SocketAddr,
}

/// What the endpoint tells of, beside what the node says itself.
#[derive(Debug)]
struct Told {
    watcher: Watcher,
    node: u32,
    cluster: String,
    data: PathBuf,
    journal: Arc<JournalStatistics>,
    archive: Option<Arc<ArchiveStatistics>>,
}

impl HealthListener {
    /// Takes the address, so that one in use is found out before any data is touched.
    ///
    /// # Errors
    /// When it can't be had.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            io::Result::Ok(Self { listener, address })
        };
        bind().with_context(|| format!("could not listen for health checks on {address}"))
    }

    /// Where it listens; never port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, as long as the process lives.
    ///
    /// # Errors
    /// When the operating system has no thread, or nothing that a runtime needs, to give.
    pub fn start(
        self,
        settings: &Settings,
        watcher: Watcher,
        journal: Arc<JournalStatistics>,
        archive: Option<Arc<ArchiveStatistics>>,
    ) -> anyhow::Result<()> {
        let told = Told {
            watcher,
            node: settings.node.id,
            cluster: settings.cluster.name.clone(),
            data: settings.node.data.clone(),
            journal,
            archive,
        };
        let start = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let listener = {
                let _entered = runtime.enter();
                tokio::net::TcpListener::from_std(self.listener)?
            };
            let serve = move || {
                if let Err(error) = runtime.block_on(routes::serve(listener, told)) {
                    tracing::error!("health checks are answered no more: {error}");
                }
            };
            thread::Builder::new().name("health".into()).spawn(serve).map(drop)
        };
        io::Result::Ok(start()?).context("could not start to answer health checks")
    }
}
