//! What the commands that speak to a cluster share.

use anyhow::{Context, bail};
use waltz_client::{
    Client, ClientCallbacks, ClientConfig, ClusterKey, ClusterView, PartitionId, TlsFiles,
};
use waltz_core::lock::LockId;

use crate::args::{ServerArgs, TokenFile};

/// The key of the cluster with this name.
pub fn cluster_key(name: &str) -> ClusterKey {
    ClusterKey(LockId::new(name, 0).0)
}

/// A client's configuration as the command line asks for it.
pub fn config(args: &ServerArgs) -> ClientConfig {
    let config = ClientConfig::new(args.server.iter().cloned())
        .connect_timeout(args.timeout)
        .mount_timeout(args.timeout)
        .request_timeout(args.timeout);
    let config = match &args.cluster {
        Some(name) => config.cluster(cluster_key(name)),
        None => config,
    };
    let config = match (&args.tls_ca, &args.tls_cert, &args.tls_key) {
        (Some(authorities), Some(certificate), Some(key)) => {
            config.tls(TlsFiles::new(authorities).certificate(certificate, key))
        }
        (Some(authorities), ..) => config.tls(TlsFiles::new(authorities)),
        _ => config,
    };
    match &args.token {
        Some(TokenFile(token)) => config.token(token),
        None => config,
    }
}

/// Connects.
///
/// # Errors
/// When no node answers, or it refuses this client.
pub async fn connect(
    config: ClientConfig,
    callbacks: impl ClientCallbacks,
) -> anyhow::Result<Client> {
    Client::connect(config, callbacks)
        .await
        .context("could not connect; is a node running there? (start one with `waltz serve`)")
}

/// Makes sure that the cluster has a partition, so that nobody waits for one that never comes.
///
/// # Errors
/// When it has not.
pub async fn require_partition(client: &Client, partition: PartitionId) -> anyhow::Result<()> {
    let view: ClusterView = client.cluster().await.context("could not ask for the partitions")?;
    if view.partitions.iter().any(|known| known.partition == partition) {
        return Ok(());
    }
    match view.partitions.len() {
        0 => bail!("the cluster has no partitions yet; it waits for its storage nodes"),
        1 => bail!("the cluster has no partition {}; its only one is 0", partition.0),
        count => bail!("the cluster has no partition {}; it has 0 to {}", partition.0, count - 1),
    }
}
