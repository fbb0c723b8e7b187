//! What a node reads of the archive of what was trimmed.

use super::Snapshot;
use super::metric::Metric;

pub(super) fn metrics(snapshot: &Snapshot<'_>) -> Vec<Metric> {
    let archive = snapshot.archive;
    vec![
        Metric::counter(
            "waltz_archive_reads",
            "Reads of the archive, from its objects in memory, too.",
        )
        .value(archive.map(|archive| archive.reads())),
        Metric::counter(
            "waltz_archive_failed_reads",
            "Reads of the archive that failed: it can't be reached, or an object is damaged.",
        )
        .value(archive.map(|archive| archive.failed_reads())),
        Metric::counter(
            "waltz_archive_objects",
            "Objects that were read from the archive, as they were not in memory.",
        )
        .value(archive.map(|archive| archive.objects())),
        Metric::counter(
            "waltz_archive_bytes",
            "Bytes of the objects that were read from the archive.",
        )
        .value(archive.map(|archive| archive.bytes())),
    ]
}
