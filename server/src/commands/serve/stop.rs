//! When a node stops because somebody wants it to.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

/// An operator's wish to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) asked: Arc<AtomicBool>,
}

impl Stop {
    pub(super) async fn wait(self) {
        if let Err(error) = Self::signal().await {
            tracing::error!("signals can't be heard: {error:#}");
            return std::future::pending().await;
        }
        self.asked.store(true, Ordering::Relaxed);
    }

    async fn signal() -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            received = terminate.recv() => received,
            received = interrupt.recv() => received,
        }
        .ok_or_else(|| anyhow!("the runtime is shut down"))
    }
}

/// For nodes that must not outlive whoever started them. Ending like a crash loses nothing.
pub(super) fn end_with_stdin() {
    std::thread::spawn(|| {
        let (mut stdin, mut buffer) = (std::io::stdin(), [0; 64]);
        while stdin.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(1);
    });
}
