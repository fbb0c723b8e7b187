//! The promises, each in a file of its own that opens with its sentence. All read one thing: the
//! evidence a run left. Promise 2 is also checked while a run goes on, by `witness`, and recovery
//! by `history`. `client_history` judges what clients were told with the log as the
//! specification; the promises 4 and 9 rest on it, too.

mod archive;
mod client_history;
mod p10_bounded_memory;
mod p1_dense_ids;
mod p2_on_a_quorum;
mod p3_prefix_agreement;
mod p4_at_most_once;
mod p5_conflict_freedom;
mod p6_no_false_conflict;
mod p7_fenced_sessions;
mod p8_no_corrupt_byte;
mod p9_liveness;

use std::collections::{BTreeMap, BTreeSet};

use waltz_core::id::{Mark, PartitionId, TransactionId};

use crate::archive::ArchiveUse;
use crate::disk_log::{DiskLog, Stored};
use crate::history::{History, Logs};
use crate::operations::ClientHistory;
use crate::peaks::Peaks;
use crate::plan::Plan;
use crate::replicas::Replicas;
use crate::witness::{Seen, Shown};
use crate::workloads::bank::Bank;

/// What a run left.
pub(crate) struct Evidence {
    /// What was to be done.
    pub(crate) plan: Plan,
    /// The logs of every disk that is left.
    pub(crate) logs: Logs,
    /// The longest log of each partition.
    pub(crate) longest: BTreeMap<PartitionId, Vec<Stored>>,
    /// What clients were shown.
    pub(crate) shown: BTreeMap<(PartitionId, TransactionId), Shown>,
    /// What the client was shown that came last.
    pub(crate) late: Seen,
    /// What the archive was used for, if there was one.
    pub(crate) archive: Option<ArchiveUse>,
    /// What clients asked, and what they were told.
    pub(crate) clients: ClientHistory,
    /// The bank, if it was open: what was submitted, and the databases.
    pub(crate) bank: Option<Bank>,
    /// The most memory that anything took.
    pub(crate) peaks: Peaks,
    /// What should have ended and did not.
    pub(crate) unfinished: Vec<String>,
}

impl Evidence {
    /// The longest log of each partition. At the end, with every node up and everything decided,
    /// all are equal: promise 3 checks it.
    pub(crate) fn longest_logs(&self) -> BTreeMap<PartitionId, &[Stored]> {
        self.longest.iter().map(|(partition, log)| (*partition, &log[..])).collect()
    }

    /// Up to where a partition's log was trimmed anywhere.
    pub(crate) fn start(&self, partition: PartitionId) -> Mark {
        let logs = self.logs.values().filter_map(|logs| logs.get(&partition));
        logs.map(DiskLog::start).max().unwrap_or(Mark::NONE)
    }
}

/// The longest log of each partition among its replicas, with what was trimmed. Replicas that have
/// started over after it never had that: then it is what most disks held, lost ones as they were.
pub(crate) fn longest_logs(history: &History) -> BTreeMap<PartitionId, Vec<Stored>> {
    let (all, logs, trimmed) = (history.logs(), history.logs_left(), history.trimmed());
    let partitions: BTreeSet<_> = logs.values().flat_map(BTreeMap::keys).copied().collect();
    let longest = partitions.into_iter().filter_map(|partition| {
        let replicas = Replicas::of(&logs, partition).current();
        let (_, longest) = replicas.into_iter().max_by_key(|(_, log)| log.last())?;
        let former = Replicas::of(&all, partition);
        let kept = |id| longest.at(id).or_else(|| trimmed.get(&(partition, id)));
        let stored = |id| kept(id).or_else(|| former.most_held(id)).cloned();
        let ids = (0..longest.last().count()).map(TransactionId);
        Some((partition, ids.map_while(stored).collect()))
    });
    longest.collect()
}

/// Says how a promise was broken.
type Check = fn(&Evidence) -> Vec<String>;

/// Every broken promise, in words.
pub(crate) fn all(evidence: &Evidence) -> Vec<String> {
    let checks: [(&str, Check); 12] = [
        ("promise 1", p1_dense_ids::check),
        ("promise 2", p2_on_a_quorum::check),
        ("promise 3", p3_prefix_agreement::check),
        ("promise 4", p4_at_most_once::check),
        ("promise 5", p5_conflict_freedom::check),
        ("promise 6", p6_no_false_conflict::check),
        ("promise 7", p7_fenced_sessions::check),
        ("promise 8", p8_no_corrupt_byte::check),
        ("promise 9", p9_liveness::check),
        ("promise 10", p10_bounded_memory::check),
        ("client history", client_history::check),
        ("archive", archive::check),
    ];
    let broken = checks.into_iter().flat_map(|(promise, check)| {
        check(evidence).into_iter().map(move |text| format!("{promise}: {text}"))
    });
    broken.collect()
}
