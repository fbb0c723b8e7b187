//! How a node's loop reads an archive: on a thread of its own, so that no store holds the loop up.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use waltz_core::io::{ArchiveFailure, ArchiveRead, ArchiveTicket};
use waltz_runtime::{ArchiveEvent, ArchivePort};

use crate::reader::ArchiveReader;
use crate::statistics::ArchiveStatistics;
use crate::store::Archive;

/// So many reads may wait; more fail at once.
const WAITING: usize = 4096;
/// So many are under way.
const UNDER_WAY: usize = 4;
/// A read that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(60);

type Asked = (ArchiveTicket, ArchiveRead);

/// Reads an archive for a node. Its thread ends with it.
#[derive(Debug)]
pub struct StorePort {
    asked: Sender<Asked>,
    /// There are no more of them than were asked and wait.
    answered: UnboundedReceiver<ArchiveEvent>,
    /// What failed at once.
    refused: UnboundedSender<ArchiveEvent>,
    statistics: Arc<ArchiveStatistics>,
}

impl StorePort {
    /// Starts to read an archive.
    ///
    /// # Errors
    /// When the system refuses a thread, or what its runtime needs.
    pub fn start(archive: Archive) -> std::io::Result<Self> {
        let (asked, to_read) = mpsc::channel(WAITING);
        let (refused, answered) = mpsc::unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (reader, answers) = (Arc::new(ArchiveReader::new(archive)), refused.clone());
        let statistics = reader.statistics().clone();
        thread::Builder::new().name("archive".to_owned()).spawn(move || {
            runtime.block_on(serve(reader, to_read, answers));
            runtime.shutdown_background();
        })?;
        Ok(Self { asked, answered, refused, statistics })
    }

    /// What its reads come to.
    pub fn statistics(&self) -> Arc<ArchiveStatistics> {
        self.statistics.clone()
    }
}

impl ArchivePort for StorePort {
    fn read(&mut self, ticket: ArchiveTicket, read: ArchiveRead) {
        self.statistics.asked();
        if self.asked.try_send((ticket, read)).is_err() {
            self.statistics.failed();
            let reason = "too many reads of it wait already".to_owned();
            let result = Err(ArchiveFailure::Failed { reason });
            // This end has the receiver.
            let _ = self.refused.send(ArchiveEvent { ticket, result });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<ArchiveEvent>) -> Poll<()> {
        let before = events.len();
        while let Poll::Ready(Some(event)) = self.answered.poll_recv(cx) {
            events.push(event);
        }
        if events.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn serve(
    reader: Arc<ArchiveReader<Archive>>,
    mut to_read: Receiver<Asked>,
    answers: UnboundedSender<ArchiveEvent>,
) {
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    while let Some((ticket, read)) = to_read.recv().await {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let (reader, answers) = (reader.clone(), answers.clone());
        tokio::spawn(async move {
            let result = answer(&reader, ticket, read).await;
            // A node that is gone needs no answer.
            let _ = answers.send(ArchiveEvent { ticket, result });
            drop(turn);
        });
    }
}

async fn answer(
    reader: &ArchiveReader<Archive>,
    ticket: ArchiveTicket,
    read: ArchiveRead,
) -> Result<bytes::Bytes, ArchiveFailure> {
    let answered = timeout(PATIENCE, reader.answer(ticket.partition, read)).await;
    let answered = answered.unwrap_or_else(|_| {
        let reason = format!("no answer in {} seconds", PATIENCE.as_secs());
        Err(ArchiveFailure::Failed { reason })
    });
    if let Err(ArchiveFailure::Failed { .. }) = &answered {
        reader.statistics().failed();
    }
    answered
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use waltz_core::id::{Epoch, Mark, NodeId, SessionId, TransactionId};

    use super::*;
    use crate::testing::{LOG, piece, record};

    #[tokio::test]
    async fn each_read_is_answered_once() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path().to_str().unwrap()).unwrap();
        let (name, bytes) = piece(0..3);
        let length = bytes.len() as u64;
        archive.write(LOG, name, bytes).await.unwrap();
        let mut port = StorePort::start(archive).unwrap();
        let session = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 0 };
        let ticket = |request| ArchiveTicket { partition: LOG.partition, session, request };
        let read = |first| ArchiveRead {
            creation: LOG.creation,
            first: TransactionId(first),
            to: Mark::before(TransactionId(9)),
            max_bytes: 1,
        };
        for request in 0..5 {
            port.read(ticket(request), read(request));
        }
        let mut events = Vec::new();
        while events.len() < 5 {
            poll_fn(|cx| port.poll(cx, &mut events)).await;
        }
        events.sort_by_key(|event| event.ticket);
        let results: Vec<_> = events.into_iter().map(|event| event.result).collect();
        let lacks = Err(ArchiveFailure::Lacks);
        let records = [0, 1, 2].map(|id| Ok(record(id)));
        assert_eq!(results[..3], records);
        assert_eq!(results[3..], [lacks.clone(), lacks]);
        std::fs::remove_dir_all(directory.path()).unwrap();
        port.read(ticket(9), read(7));
        let mut events = Vec::new();
        poll_fn(|cx| port.poll(cx, &mut events)).await;
        let failure = events.pop().unwrap().result.unwrap_err();
        assert!(
            matches!(failure, ArchiveFailure::Failed { reason } if reason.contains("not there"))
        );
        let counted = port.statistics();
        assert_eq!((counted.reads(), counted.failed_reads()), (6, 1));
        assert!(counted.objects() >= 1, "reads at the same time may load one each");
        assert_eq!(counted.bytes(), counted.objects() * length);
    }
}
