//! A partition that has come to its quota takes no appends, as long as nothing is trimmed.

use std::time::Duration;

use waltz_client::{
    AppendError, AppendRefusal, AppendRequest, Client, ClientConfig, Mark, NoDatabase,
    OperatorRequest, PartitionId, RefusedAppend, TransactionId,
};
use waltz_server::cluster::{ClusterPlan, LocalCluster};

use super::load;

const FULL: PartitionId = PartitionId(0);
const OTHER: PartitionId = PartitionId(1);

async fn append(client: &Client, partition: PartitionId) -> Result<TransactionId, AppendError> {
    client.append(partition, AppendRequest::new(vec![7; 200_000])).await
}

/// Appends until the quota refuses it; how many were taken.
async fn fill(client: &Client) -> u64 {
    for taken in 0..20 {
        match append(client, FULL).await {
            Ok(_) => {}
            Err(AppendError::Refused(RefusedAppend::Server(AppendRefusal::Full))) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("nothing was refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_at_its_quota_takes_nothing_until_it_is_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("waltz.toml");
    std::fs::write(&config, "[storage]\npartition_quota = \"1M\"\n").unwrap();
    let arguments = vec!["--config".to_owned(), config.display().to_string()];
    let plan = ClusterPlan { arguments, ..load::plan(directory.path(), 3, 2) };
    let mut cluster = LocalCluster::start(&plan).await.unwrap();
    let config = ClientConfig::new(cluster.addresses()).request_timeout(Duration::from_secs(60));
    let client = Client::connect(config, NoDatabase::newest()).await.unwrap();

    // A mebibyte holds five of them; the sixth shows that they are too many.
    let taken = fill(&client).await;
    assert!((6..10).contains(&taken), "{taken}");
    append(&client, OTHER).await.unwrap();

    // It is so after a restart, too, and what is there can be read.
    for node in 0..3 {
        cluster.kill(node).await.unwrap();
    }
    for node in 0..3 {
        cluster.restart(node).await.unwrap();
    }
    assert_eq!(fill(&client).await, 0);
    let feed = waltz_client::FeedOptions::new().until_now();
    let mut feed = client.feed_with(FULL, Mark::NONE, feed);
    let mut read = 0;
    while let Some(batch) = feed.next_batch().await {
        read += batch.unwrap().len() as u64;
    }
    assert_eq!(read, taken);

    let start = Mark::at(TransactionId(2));
    client.operate(OperatorRequest::Trim { partition: FULL, start }).await.unwrap();
    // The replicas hear of it a moment later.
    let after = async { while fill(&client).await == 0 {} };
    tokio::time::timeout(Duration::from_secs(60), after).await.unwrap();
    client.close().await;
    cluster.stop(Duration::from_secs(60)).await.unwrap();
}
