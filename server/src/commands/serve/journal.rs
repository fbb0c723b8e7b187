//! A node's journal: where it is, whose it is, and what is in it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::journal::DEFAULT_SEGMENT_BYTES;
use waltz_core::limits::Limits;
use waltz_core::node::{Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_runtime::journal::{Abandoned, Journal, JournalConfig};
use waltz_runtime_tokio::{FileDisk, JournalThread};

/// Where in a data directory the journal is.
pub fn journal_directory(data: &Path) -> PathBuf {
    data.join("journal")
}

/// Whose journal it is.
pub fn journal_config(node: NodeId, cluster: ClusterKey, limits: Limits) -> JournalConfig {
    let (segment_bytes, planted) = (DEFAULT_SEGMENT_BYTES, Planted::NONE);
    JournalConfig { cluster, node, segment_bytes, limits, planted }
}

/// Reads the journal back into a node's state.
pub(super) fn open(data: &Path, config: NodeConfig) -> anyhow::Result<(Node, JournalThread)> {
    let in_directory = || format!("could not use the data directory {}", data.display());
    let disk = FileDisk::open(journal_directory(data)).with_context(in_directory)?;
    let journal_config = journal_config(config.node, config.cluster, config.limits);
    let mut recovered = Recovered::new(config.limits, Planted::NONE);
    let random = waltz_runtime_tokio::runtime::random;
    let opened = Journal::open(disk.clone(), journal_config, random(), &mut recovered);
    let (journal, recovery) = opened.with_context(in_directory)?;
    tracing::info!(
        entries = recovery.entries,
        bytes = recovery.bytes,
        replayed_from = recovery.replayed_from,
        incarnation = %recovery.incarnation,
        "opened {}",
        data.display()
    );
    if let Some(Abandoned { segment, reason }) = &recovery.abandoned {
        tracing::warn!(
            "the whole journal was read, as reading from segment {segment} on came to nothing: {reason}"
        );
    }
    if let Some(torn) = &recovery.torn {
        tracing::warn!("a write was cut short when the node stopped, and is gone: {torn:?}");
    }
    for damage in &recovery.damaged {
        tracing::error!("{damage}");
    }
    let journal = JournalThread::start(journal, disk).context("could not start the journal")?;
    Ok((Node::new(config, recovered, recovery.storage, random()), journal))
}
