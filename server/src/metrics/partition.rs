//! The partitions that a node is assigned to serve.

use waltz_core::measure::{PartitionMeasurements, ServingState};

use super::metric::{MICROSECOND, Metric, Value};

type Served = PartitionMeasurements;

/// What every metric here is told apart by.
const PARTITION: &[&str] = &["partition"];

pub(super) fn metrics(served: &[Served]) -> Vec<Metric> {
    let mut metrics = session(served);
    metrics.extend(appends(served));
    metrics.extend(distributions(served));
    metrics.extend(feeds(served));
    metrics.extend(replicas(served));
    metrics
}

fn name(served: &Served) -> String {
    served.partition.0.to_string()
}

/// A sample a partition.
fn each<V: Into<Value>>(metric: Metric, served: &[Served], figure: fn(&Served) -> V) -> Metric {
    let sample = |served| (vec![name(served)], figure(served));
    metric.by(PARTITION).samples(served.iter().map(sample))
}

/// Several samples a partition.
fn several<const N: usize>(
    metric: Metric,
    served: &[Served],
    figures: fn(&Served) -> [(&'static str, u64); N],
) -> Metric {
    let sample = |served| {
        let partition = name(served);
        figures(served).map(|(kind, count)| (vec![partition.clone(), kind.to_owned()], count))
    };
    metric.samples(served.iter().flat_map(sample))
}

fn session(served: &[Served]) -> Vec<Metric> {
    let open = Metric::gauge("waltz_partition_open", "1 if a session is open that takes appends.");
    let quorum = Metric::gauge(
        "waltz_partition_quorum",
        "1 if a session is open and a quorum of its replicas has joined.",
    );
    let opened = Metric::counter("waltz_sessions_opened", "Sessions that opened.");
    let ended = Metric::counter(
        "waltz_sessions_ended",
        "Sessions that ended otherwise than by a new assignment.",
    );
    let committed =
        Metric::gauge("waltz_partition_committed_records", "The high-water mark, as a count.");
    let sequenced =
        Metric::gauge("waltz_partition_sequenced_records", "The last id given out, as a count.");
    let trimmed = Metric::gauge(
        "waltz_partition_trimmed_records",
        "Up to where the log was trimmed, as a count.",
    );
    let locks = Metric::gauge(
        "waltz_partition_lock_changes",
        "Lock changes that the lock table's window holds.",
    );
    vec![
        each(open, served, |served| served.state == ServingState::Open),
        each(quorum, served, |served| served.has_quorum),
        each(opened, served, |served| served.counts.sessions_opened),
        each(ended, served, |served| served.counts.sessions_ended),
        each(committed, served, |served| served.committed.count()),
        each(sequenced, served, |served| served.sequenced.count()),
        each(trimmed, served, |served| served.start.count()),
        each(locks, served, |served| served.lock_changes),
    ]
}

fn appends(served: &[Served]) -> Vec<Metric> {
    let accepted = Metric::counter("waltz_appends_accepted", "Records that were given an id.");
    let committed = Metric::counter("waltz_appends_committed", "Records that were committed.");
    let bytes = Metric::counter("waltz_appends_committed_bytes", "Bytes of the records committed.");
    let in_flight = Metric::gauge(
        "waltz_partition_in_flight_bytes",
        "Bytes of records that are on fewer than a quorum of replicas.",
    );
    let refused = Metric::counter(
        "waltz_appends_refused",
        "Records refused whatever their locks say: no session was open (closed), the mount does not \
         count (stale), too large (limit), computed beyond the log (ahead), too much in flight (busy).",
    );
    let conflicts = Metric::counter(
        "waltz_conflicts",
        "Records refused for their locks: one had changed (exact), or the record was computed before \
         the lock table's window (cautious).",
    );
    vec![
        each(accepted, served, |served| served.counts.appended),
        each(committed, served, |served| served.counts.committed),
        each(bytes, served, |served| served.counts.committed_bytes),
        each(in_flight, served, |served| served.in_flight_bytes),
        several(refused.by(&["partition", "reason"]), served, |served| {
            let refused = served.counts.refused;
            [
                ("closed", refused.closed),
                ("stale", refused.stale),
                ("limit", refused.limit),
                ("ahead", refused.ahead),
                ("busy", refused.busy),
                ("full", refused.full),
            ]
        }),
        several(conflicts.by(&["partition", "certainty"]), served, |served| {
            let counts = &served.counts;
            [("exact", counts.conflicts), ("cautious", counts.cautious_conflicts)]
        }),
    ]
}

fn distributions(served: &[Served]) -> Vec<Metric> {
    let latency = Metric::histogram(
        "waltz_commit_latency_seconds",
        "From a record's admission to its commit, in seconds.",
    );
    let runs = Metric::histogram(
        "waltz_run_records",
        "Records of a committed run: what was replicated together.",
    );
    vec![
        each(latency, served, |served| {
            Value::Distribution(served.counts.commit_latency.clone(), MICROSECOND)
        }),
        each(runs, served, |served| Value::Distribution(served.counts.run_records.clone(), 1.0)),
    ]
}

fn feeds(served: &[Served]) -> Vec<Metric> {
    let mounts = Metric::gauge("waltz_mounts", "Clients that are mounted.");
    let at_head = Metric::gauge(
        "waltz_mounts_at_head",
        "Mounted clients that were fed everything that is committed.",
    );
    let lag = Metric::gauge(
        "waltz_feed_lag_records",
        "Committed records that the mounted client furthest behind was not fed.",
    );
    let reads = Metric::counter(
        "waltz_feed_reads",
        "Reads for feeds in this session: memory answered (hit), or the storage was asked (miss).",
    );
    let consumers = Metric::gauge(
        "waltz_consumer_lag_records",
        "Committed records that a registered consumer has not applied.",
    );
    let consumer = |served: &Served| -> Vec<_> {
        let sample = |(consumer, lag): &(String, u64)| (vec![name(served), consumer.clone()], *lag);
        served.consumers.iter().map(sample).collect()
    };
    vec![
        each(mounts, served, |served| served.mounts.mounted),
        each(at_head, served, |served| served.mounts.at_head),
        each(lag, served, |served| served.mounts.largest_lag),
        several(reads.by(&["partition", "result"]), served, |served| {
            [("hit", served.mounts.tail_hits), ("miss", served.mounts.tail_misses)]
        }),
        consumers.by(&["partition", "consumer"]).samples(served.iter().flat_map(consumer)),
    ]
}

fn replicas(served: &[Served]) -> Vec<Metric> {
    const REPLICA: &[&str] = &["partition", "replica"];
    let joined = Metric::gauge(
        "waltz_replica_joined",
        "1 if a replica, by its node, has joined the partition's session.",
    );
    let lag = Metric::gauge(
        "waltz_replica_lag_records",
        "Numbered records that a replica, by its node, does not durably have, as far as is known.",
    );
    let repairs = Metric::counter(
        "waltz_repairs_sent",
        "Repairs of damaged records that were sent to replicas.",
    );
    let all = || {
        served.iter().flat_map(|served| {
            served
                .replicas
                .iter()
                .map(|replica| (vec![name(served), replica.node.0.to_string()], replica))
        })
    };
    vec![
        joined.by(REPLICA).samples(all().map(|(labels, replica)| (labels, replica.has_joined))),
        lag.by(REPLICA).samples(all().map(|(labels, replica)| (labels, replica.lag))),
        each(repairs, served, |served| served.counts.repairs),
    ]
}
