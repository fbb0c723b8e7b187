//! One partition's log, read from some place to what is committed now.

use anyhow::Context;
use waltz_client::{Client, Feed, FeedError, FeedOptions, Mark, PartitionId, Transaction};

/// Reads a log.
#[derive(Debug)]
pub(super) struct Log<'a> {
    client: &'a Client,
    partition: PartitionId,
    start: Mark,
    feed: Feed,
    has_begun: bool,
}

impl<'a> Log<'a> {
    /// From after this mark on; where that was trimmed, from the log's start on.
    pub(super) fn after(client: &'a Client, partition: PartitionId, start: Mark) -> Self {
        let feed = feed(client, partition, start);
        Self { client, partition, start, feed, has_begun: false }
    }

    /// After which mark it begins, once something was read.
    pub(super) fn start(&self) -> Mark {
        self.start
    }

    /// The next transactions; none at the end.
    ///
    /// # Errors
    /// When the log can't be read any further.
    pub(super) async fn next_batch(&mut self) -> anyhow::Result<Option<Vec<Transaction>>> {
        loop {
            match self.feed.next_batch().await {
                Some(Err(FeedError::Trimmed { start, .. })) if !self.has_begun => {
                    self.start = start;
                    self.feed = feed(self.client, self.partition, start);
                    self.has_begun = true;
                }
                Some(batch) => {
                    self.has_begun = true;
                    return Ok(Some(batch.context("could not read the log to its end")?));
                }
                None => return Ok(None),
            }
        }
    }
}

fn feed(client: &Client, partition: PartitionId, after: Mark) -> Feed {
    client.feed_with(partition, after, FeedOptions::new().until_now())
}
