//! Pulled feeds: in order, filtered before data is loaded, on their own, with a typed end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;
use waltz_client::testing::TestCluster;
use waltz_client::{
    AppendRequest, Client, FeedError, FeedOptions, FetchError, Mark, NoDatabase, OperatorRequest,
    PartitionId, Partitions, Start, TransactionId,
};

const P: PartitionId = PartitionId(1);
const SOON: Duration = Duration::from_millis(50);

/// A log of so many transactions; headers count, data says so.
async fn log(count: u32) -> (TestCluster, Client) {
    let cluster = TestCluster::start();
    let client = cluster.client(NoDatabase::newest()).await;
    let appends: Vec<_> = (0..count)
        .map(|n| client.append(P, AppendRequest::new(format!("data {n}")).header(n)))
        .collect();
    for append in appends {
        append.await.expect("nothing fails here");
    }
    (cluster, client)
}

#[tokio::test(start_paused = true)]
async fn a_feed_gives_everything_after_its_mark_in_order_and_goes_on() {
    let (_cluster, client) = log(10).await;
    let mut feed = client.feed(P, Mark::at(TransactionId(3)));
    for id in (4..10).map(TransactionId) {
        let next = feed.next().await.expect("there are more").expect("it can be read");
        assert_eq!((next.id(), next.partition()), (id, P));
        assert_eq!(next.bytes().await.expect("it rode along"), format!("data {id}"));
        assert_eq!(feed.mark(), Some(Mark::at(id)));
    }
    assert!(timeout(SOON, feed.next()).await.is_err(), "nothing more is committed");
    client.append(P, AppendRequest::new("late")).await.expect("nothing fails here");
    let late = feed.next().await.expect("it goes on").expect("it can be read");
    assert_eq!(late.id(), TransactionId(10));
}

#[tokio::test(start_paused = true)]
async fn a_feed_is_a_stream_that_can_end_at_what_is_committed_now() {
    let (_cluster, client) = log(100).await;
    let feed = client.feed_with(P, Mark::NONE, FeedOptions::new().until_now());
    let ids: Vec<_> = pin!(feed).map(|next| next.expect("it can be read").id()).collect().await;
    assert_eq!(ids, (0..100).map(TransactionId).collect::<Vec<_>>());
    let options = FeedOptions::new().until_now();
    let mut feed = client.feed_with(P, Start::Newest, options);
    assert!(feed.next().await.is_none(), "nothing is committed after the newest");
}

#[tokio::test(start_paused = true)]
async fn a_filter_sees_headers_and_only_what_passes_is_loaded() {
    let (_cluster, client) = log(1000).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let options = FeedOptions::new().until_now().prefetch(3).filter(move |transaction| {
        counted.fetch_add(1, Ordering::Relaxed);
        transaction.header().is_multiple_of(100)
    });
    let mut feed = client.feed_with(P, Mark::NONE, options);
    let mut headers = Vec::new();
    while let Some(next) = feed.next().await {
        let next = next.expect("it can be read");
        assert_eq!(next.bytes().await.expect("it was loaded"), format!("data {}", next.id()));
        headers.push(next.header());
    }
    assert_eq!(headers, (0..10).map(|n| 100 * n).collect::<Vec<_>>());
    assert_eq!(seen.load(Ordering::Relaxed), 1000, "each is looked at once");
    assert_eq!(feed.mark(), Some(Mark::at(TransactionId(999))), "what was filtered out counts");
}

#[tokio::test(start_paused = true)]
async fn data_is_loaded_while_the_feed_lives() {
    let (_cluster, client) = log(2).await;
    let options = FeedOptions::new().headers_only();
    let mut feed = client.feed_with(P, Mark::NONE, options);
    let batch = feed.next_batch().await.expect("there are some").expect("they can be read");
    assert_eq!(batch.len(), 2);
    assert_eq!(batch[1].bytes().await.expect("it is committed"), "data 1");
    client.close().await;
    assert_eq!(batch[0].bytes().await.expect("the client's end is not the feed's"), "data 0");
    drop(feed);
    assert_eq!(batch[1].bytes().await, Err(FetchError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_not_read_holds_nobody_back() {
    let (_cluster, client) = log(1).await;
    let _unread = client.feed(P, Mark::NONE);
    let mut read = client.feed(P, Mark::NONE);
    for n in 0..200 {
        let append = client.append(P, AppendRequest::new(vec![0; 100_000]));
        assert_eq!(append.await, Ok(TransactionId(n + 1)));
        assert!(read.next().await.is_some_and(|next| next.is_ok()));
    }
}

#[tokio::test(start_paused = true)]
async fn feeds_come_back_after_crashes_without_a_gap() {
    let (cluster, client) = log(5).await;
    let mut feed = client.feed(P, Mark::NONE);
    for n in 0..5 {
        let next = feed.next().await.expect("there are more").expect("it can be read");
        assert_eq!(next.id(), TransactionId(n));
        cluster.drop_connections();
        cluster.restart().await;
    }
    client.append(P, AppendRequest::new("late")).detach();
    let next = feed.next().await.expect("it goes on").expect("it can be read");
    assert_eq!(next.id(), TransactionId(5));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_can_not_go_on_says_why_once() {
    let (_cluster, client) = log(5).await;
    let nowhere = PartitionId(77);
    let mut feed = client.feed(nowhere, Mark::NONE);
    assert_eq!(
        feed.next().await.map(Result::err),
        Some(Some(FeedError::UnknownPartition(nowhere)))
    );
    assert!(feed.next().await.is_none());

    let (after, log) = (Mark::at(TransactionId(8)), Mark::at(TransactionId(4)));
    let mut feed = client.feed(P, after);
    let ahead = FeedError::AheadOfLog { partition: P, client: after, log };
    assert_eq!(feed.next().await.map(Result::err), Some(Some(ahead)));

    let start = Mark::at(TransactionId(2));
    client.operate(OperatorRequest::Trim { partition: P, start }).await.expect("all is committed");
    let mut feed = client.feed(P, Mark::NONE);
    let trimmed = FeedError::Trimmed { partition: P, client: Mark::NONE, start };
    assert_eq!(feed.next().await.map(Result::err), Some(Some(trimmed)));

    client.set_partitions(Partitions::none()).await.expect("it is open");
    client.clone().close().await;
    let mut feed = client.feed(P, start);
    assert_eq!(feed.next().await.map(Result::err), Some(Some(FeedError::Closed)));
}
