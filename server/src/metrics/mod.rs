//! What a node counts, as Prometheus reads it.
//!
//! Nothing is counted here: each scrape takes what the node says of itself at that moment, and what
//! the journal's thread and the operating system tell, and writes it down. Series are told apart by
//! partition, replica, consumer, reason and the like, never by client, so that their number is bounded
//! by what operators have made.

mod archive;
#[cfg(test)]
mod document;
mod metric;
mod node;
mod partition;
mod process;
mod storage;

use std::path::Path;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use waltz_archive::ArchiveStatistics;
use waltz_core::measure::Measurements;
use waltz_runtime_tokio::JournalStatistics;

use metric::{Collected, Metric};

/// The media type of what [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that a scrape tells of.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The node's number.
    pub node: u32,
    /// Its cluster's name.
    pub cluster: &'a str,
    /// Where it keeps its data.
    pub data: &'a Path,
    /// What it says of itself, if it answered.
    pub measurements: Option<&'a Measurements>,
    /// What its journal counts.
    pub journal: &'a JournalStatistics,
    /// What its reads of the archive come to, if it has one.
    pub archive: Option<&'a ArchiveStatistics>,
}

impl Snapshot<'_> {
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = node::metrics(self);
        let partitions = self.measurements.map(|node| node.partitions.as_slice());
        metrics.extend(partition::metrics(partitions.unwrap_or_default()));
        metrics.extend(storage::metrics(self));
        metrics.extend(archive::metrics(self));
        metrics.extend(process::metrics());
        metrics
    }
}

/// Writes a snapshot in OpenMetrics' text format.
pub fn encode(snapshot: &Snapshot<'_>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(snapshot.metrics())));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything");
    text
}
