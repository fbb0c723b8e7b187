//! Reads of trimmed records from the archive, for a partition while it is served. What comes is
//! checked as what comes of a peer is: the archive is somebody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::server::{Outputs, PartitionServer, State};
use crate::id::{CreationId, Mark, PartitionId, SessionId, TransactionId};
use crate::io::{ArchiveFailure, ArchiveRead, ArchiveTicket, Context, Level};
use crate::limits::Limits;
use crate::planted::PlantedBug;
use crate::record::{RecordError, RecordView, Run};
use crate::time::Time;

/// Feeds for which the archive could not be read are read for again after so long.
const PAUSE: Duration = Duration::from_secs(5);
/// That it can't be read is reported this often at most.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);

/// What is read from the archive now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    creation: CreationId,
    /// By number. The mounts bound how many.
    under_way: BTreeMap<u64, ArchiveRead>,
    /// When feeds whose reads failed are read for once more.
    pub(super) retry_at: Option<Time>,
    /// When a failure was last reported.
    reported: Option<Time>,
}

impl Archive {
    /// Nothing is read yet of the partition of this creation.
    pub(super) fn new(creation: CreationId) -> Self {
        Self { creation, under_way: BTreeMap::new(), retry_at: None, reported: None }
    }

    /// Begins a read.
    pub(super) fn begin(
        &mut self,
        request: u64,
        first: TransactionId,
        to: Mark,
        max_bytes: u32,
    ) -> ArchiveRead {
        let read = ArchiveRead { creation: self.creation, first, to, max_bytes };
        self.under_way.insert(request, read);
        read
    }

    fn is_worth_a_report(&mut self, now: Time) -> bool {
        let is_due = self.reported.is_none_or(|last| now.since(last) >= BETWEEN_REPORTS);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }
}

impl PartitionServer {
    /// A read of the archive ended. One of a former session is nobody's.
    pub fn on_archived(
        &mut self,
        cx: &mut Context<'_>,
        ticket: ArchiveTicket,
        result: Result<Bytes, ArchiveFailure>,
        outputs: &mut Outputs,
    ) {
        let (partition, limits) = (self.partition, self.config.limits);
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        if serving.sequencer.session() != ticket.session {
            return;
        }
        let Some(read) = serving.archive.under_way.remove(&ticket.request) else {
            return;
        };
        let mut said = Vec::new();
        let checked = result.map(|bytes| check(partition, ticket.session, &read, bytes, &limits));
        let failure = match checked {
            Ok(Ok(run)) => {
                serving.mounts.records(ticket.request, &run, true, &mut said);
                None
            }
            Ok(Err(reason)) => Some((Level::Error, reason)),
            Err(ArchiveFailure::Failed { .. })
                if serving.planted.has(PlantedBug::FailedIsLacking) =>
            {
                serving.mounts.not_archived(ticket.request, &mut said);
                None
            }
            Err(ArchiveFailure::Failed { reason }) => Some((Level::Warning, reason)),
            Err(ArchiveFailure::Lacks) => {
                serving.mounts.not_archived(ticket.request, &mut said);
                None
            }
        };
        if let Some((level, reason)) = failure {
            let text = format!(
                "transactions from {} on can't be read from the archive: {reason}; whoever reads \
                 them waits until they can be",
                read.first
            );
            serving.mounts.read_failed(ticket.request, &text, &mut said);
            if serving.archive.is_worth_a_report(cx.now) {
                cx.report(level, Some(partition), text);
            }
        }
        if serving.mounts.needs_archive_retry() && serving.archive.retry_at.is_none() {
            serving.archive.retry_at = Some(cx.now + PAUSE);
        }
        self.settle_mounts(cx, said, outputs);
    }

    /// Reads once more for the feeds for which the archive could not be read, when that is due.
    pub(super) fn retry_archive(&mut self, cx: &mut Context<'_>, outputs: &mut Outputs) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        if serving.archive.retry_at.is_some_and(|time| time <= cx.now) {
            serving.archive.retry_at = None;
            let mut said = Vec::new();
            serving.mounts.retry_archive(&mut said);
            self.settle_mounts(cx, said, outputs);
        }
    }
}

/// Whether bytes are what was wanted: sound records of the partition, of the ids from the first one
/// on and no later ones, no more than were asked for. Which session wrote them nobody is told.
fn check(
    partition: PartitionId,
    session: SessionId,
    read: &ArchiveRead,
    bytes: Bytes,
    limits: &Limits,
) -> Result<Run, String> {
    let (mut rest, mut next, mut count) = (&bytes[..], read.first, 0);
    while !rest.is_empty() {
        let (record, after) =
            RecordView::parse(rest, limits).map_err(|error: RecordError| error.to_string())?;
        let (id, of) = (record.id(), record.req_id().partition);
        if (id, of) != (next, partition) {
            return Err(format!("it gave {id} of partition {of} where {next} belongs"));
        }
        if !read.to.includes(id) {
            return Err(format!("it gave {id}, and was asked for no more than {}", read.to));
        }
        (rest, next, count) = (after, TransactionId(id.0 + 1), count + 1);
    }
    match count {
        0 => Err("it gave no records".to_owned()),
        2.. if bytes.len() > read.max_bytes as usize => {
            Err(format!("it gave {} bytes, and was asked for {}", bytes.len(), read.max_bytes))
        }
        _ => Ok(Run { session, first: read.first, count, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::testing::{SESSION, run_of};

    const PARTITION: PartitionId = PartitionId(0);

    fn read(first: u64, to: u64, max_bytes: u32) -> ArchiveRead {
        let (first, to) = (TransactionId(first), Mark::at(TransactionId(to)));
        ArchiveRead { creation: CreationId(7), first, to, max_bytes }
    }

    fn checked(read: &ArchiveRead, bytes: &[u8]) -> Result<Run, String> {
        let bytes = Bytes::copy_from_slice(bytes);
        check(PARTITION, SESSION, read, bytes, &Limits::default())
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        let run = run_of(3..7, |_| 20);
        assert_eq!(checked(&read(3, 6, 1000), &run.bytes), Ok(run.clone()));
        assert_eq!(checked(&read(3, 9, 1000), &run.bytes), Ok(run));
        let one = run_of(3..4, |_| 20);
        assert_eq!(checked(&read(3, 3, 1), &one.bytes), Ok(one), "one record is always taken");
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let run = run_of(3..7, |_| 20);
        let refused = |read: ArchiveRead, bytes: &[u8]| checked(&read, bytes).unwrap_err();
        assert!(refused(read(2, 9, 1000), &run.bytes).contains("where 2 belongs"));
        assert!(refused(read(4, 9, 1000), &run.bytes).contains("where 4 belongs"));
        assert!(refused(read(3, 5, 1000), &run.bytes).contains("no more than 5"));
        assert!(refused(read(3, 9, 100), &run.bytes).contains("asked for 100"));
        assert!(refused(read(3, 9, 1000), b"").contains("no records"));
        let gap = [&run_of(3..4, |_| 20).bytes[..], &run_of(5..6, |_| 20).bytes[..]].concat();
        assert!(refused(read(3, 9, 1000), &gap).contains("where 4 belongs"));
        let other =
            check(PartitionId(1), SESSION, &read(3, 9, 1000), run.bytes, &Limits::default());
        assert!(other.unwrap_err().contains("of partition"));
    }

    #[test]
    fn no_changed_byte_is_taken() {
        let run = run_of(3..5, |_| 20);
        for at in 0..run.bytes.len() {
            for bit in 0..8 {
                let mut bytes = run.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(checked(&read(3, 9, 1000), &bytes).is_err(), "bit {bit} of {at}");
            }
        }
    }
}
