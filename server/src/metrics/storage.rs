//! What a node keeps: its replicas, its journal and its disk.

use waltz_core::measure::{Histogram, StoredReplica};

use super::Snapshot;
use super::metric::{MICROSECOND, Metric, Value};

pub(super) fn metrics(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let mut metrics = replicas(snapshot);
    metrics.extend(journal(snapshot));
    metrics.extend(disk(snapshot));
    metrics
}

fn replicas(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let node = snapshot.measurements;
    let stored = node.map(|node| node.replicas.as_slice()).unwrap_or_default();
    let each = |metric: Metric, figure: fn(&StoredReplica) -> u64| {
        let sample =
            |stored: &StoredReplica| (vec![stored.partition.0.to_string()], figure(stored));
        metric.by(&["partition"]).samples(stored.iter().map(sample))
    };
    let last = Metric::gauge("waltz_stored_records", "The end of a replica kept here, as a count.");
    let low_water = Metric::gauge(
        "waltz_stored_committed_records",
        "Up to where a replica kept here knows its log to be committed, as a count.",
    );
    let damaged = Metric::gauge(
        "waltz_stored_damaged_records",
        "Records of a replica kept here that can't be read.",
    );
    let stored_bytes = Metric::gauge(
        "waltz_stored_bytes",
        "Bytes of records of a replica kept here, as its partition's quota counts them.",
    );
    let over_quota = Metric::gauge(
        "waltz_stored_over_quota",
        "1 while a replica kept here has come to its partition's quota and lets nothing be appended.",
    );
    let suspect = Metric::gauge(
        "waltz_journal_suspect",
        "1 if the journal lost entries, so that replicas here only give what they still have.",
    );
    let moved = Metric::counter(
        "waltz_moved_bytes",
        "Bytes of records that were written again, so that old segments could be given up.",
    );
    let full = Metric::gauge(
        "waltz_storage_full",
        "1 while the disk has no room for the journal's next segment and no records are taken.",
    );
    let checkpoints = Metric::counter("waltz_checkpoints", "Checkpoints that were begun, ever.");
    let rounds = Metric::counter("waltz_scrub_rounds", "Rounds of the scrub over all records.");
    let bytes = Metric::counter("waltz_scrub_bytes", "Bytes that the scrub has read.");
    vec![
        each(last, |stored| stored.last.count()),
        each(low_water, |stored| stored.low_water.count()),
        each(damaged, |stored| stored.damaged),
        each(stored_bytes, |stored| stored.bytes),
        each(over_quota, |stored| stored.is_over_quota.into()),
        suspect.value(node.map(|node| node.is_suspect)),
        moved.value(node.map(|node| node.storage.moved_bytes)),
        full.value(node.map(|node| node.storage.is_full)),
        checkpoints.value(node.map(|node| node.storage.checkpoints)),
        rounds.value(node.map(|node| node.storage.scrub_rounds)),
        bytes.value(node.map(|node| node.storage.scrub_bytes)),
    ]
}

fn journal(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let journal = snapshot.journal;
    let distribution = |histogram: Histogram, unit| Some(Value::Distribution(histogram, unit));
    vec![
        Metric::histogram(
            "waltz_journal_sync_seconds",
            "How long a batch took to be written and made durable, in seconds.",
        )
        .value(distribution(journal.sync_micros(), MICROSECOND)),
        Metric::histogram("waltz_journal_batch_bytes", "Bytes of records in a batch.")
            .value(distribution(journal.batch_bytes(), 1.0)),
        Metric::histogram(
            "waltz_journal_batch_entries",
            "Entries of a batch: what had queued up while the one before was written.",
        )
        .value(distribution(journal.batch_entries(), 1.0)),
        Metric::gauge("waltz_journal_segments", "Segments of the journal, without spare ones.")
            .value(Some(journal.segments())),
    ]
}

fn disk(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let disk = rustix::fs::statvfs(snapshot.data).ok();
    let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
    vec![
        Metric::gauge("waltz_disk_free_bytes", "Bytes free for the node where its data is.")
            .value(disk.as_ref().map(|disk| bytes(disk.f_bavail, disk.f_frsize))),
        Metric::gauge("waltz_disk_size_bytes", "The size of the file system that the data is on.")
            .value(disk.as_ref().map(|disk| bytes(disk.f_blocks, disk.f_frsize))),
    ]
}
