//! The archive of a run: the pieces and the reader that ship, over the simulated store.

use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use waltz_archive::{ArchiveReader, LogName, Piece, PieceStore, PieceWriter, SoundPiece};
use waltz_core::io::{ArchiveFailure, ArchiveRead, ArchiveTicket};
use waltz_core::limits::Limits;
use waltz_core::record::RecordView;
use waltz_runtime::{ArchiveEvent, ArchivePort};
use waltz_runtime_sim::SimStore;

/// What an archive was asked for, and what it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArchiveUse {
    /// Pieces that were written and read back.
    pub pieces: u64,
    /// Reads that nodes began.
    pub reads: u64,
    /// Those whose node ended before they did, or that had no end when the run had.
    pub unanswered: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those of what it does not have.
    pub lacking: u64,
    /// Records that it gave.
    pub records: u64,
}

impl AddAssign for ArchiveUse {
    fn add_assign(&mut self, other: Self) {
        self.pieces += other.pieces;
        self.reads += other.reads;
        self.unanswered += other.unanswered;
        self.failed += other.failed;
        self.lacking += other.lacking;
        self.records += other.records;
    }
}

impl fmt::Display for ArchiveUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pieces, reads, unanswered, failed, lacking, records } = self;
        write!(
            f,
            "archive {pieces} pieces, {reads} reads ({records} records, {failed} failed, {lacking} \
             lacking, {unanswered} unanswered)"
        )
    }
}

/// The archive; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    store: SimStore,
    used: Arc<Mutex<ArchiveUse>>,
}

impl Archive {
    pub(crate) fn new(store: SimStore) -> Self {
        Self { store, used: Arc::default() }
    }

    /// What it was used for so far.
    pub(crate) fn used(&self) -> ArchiveUse {
        *self.lock()
    }

    /// How a node that is booted reads it.
    pub(crate) fn port(&self) -> SimArchivePort {
        let (answers, answered) = unbounded_channel();
        let reader = Arc::new(ArchiveReader::new(self.clone()));
        SimArchivePort { archive: self.clone(), reader, answers, answered }
    }

    /// Writes a piece, then reads it back and verifies it.
    ///
    /// # Errors
    /// When that can't be done now, in words.
    pub(crate) async fn write(&self, log: LogName, writer: PieceWriter) -> Result<(), String> {
        let Some((piece, bytes)) = writer.end() else { return Ok(()) };
        let stored = self.store.put(&object(log, piece), bytes).await;
        stored.map_err(|error| error.to_string())?;
        self.read(log, piece).await?;
        self.lock().pieces += 1;
        Ok(())
    }

    fn count(&self, result: &Result<Bytes, ArchiveFailure>) {
        let mut used = self.lock();
        used.unanswered -= 1;
        match result {
            Ok(bytes) => used.records += records(bytes),
            Err(ArchiveFailure::Lacks) => used.lacking += 1,
            Err(ArchiveFailure::Failed { .. }) => used.failed += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ArchiveUse> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PieceStore for Archive {
    type Error = String;

    async fn pieces(&self, log: LogName) -> Result<Vec<Piece>, String> {
        let folder = folder(log);
        let names = self.store.list(&folder).await.map_err(|error| error.to_string())?;
        Ok(names.iter().filter_map(|name| Piece::parse(name.strip_prefix(&folder)?)).collect())
    }

    async fn read(&self, log: LogName, piece: Piece) -> Result<SoundPiece, String> {
        let bytes = self.store.get(&object(log, piece)).await.map_err(|error| error.to_string())?;
        SoundPiece::verify(log, piece, bytes).map_err(|error| error.to_string())
    }
}

fn folder(log: LogName) -> String {
    let [partition, creation] = log.folders();
    format!("{partition}/{creation}/")
}

fn object(log: LogName, piece: Piece) -> String {
    folder(log) + &piece.file_name()
}

fn records(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Ok((_, rest)) = RecordView::parse(bytes, &Limits::default()) {
        (bytes, count) = (rest, count + 1);
    }
    count
}

/// How a node reads the archive. Its reads end with its process.
#[derive(Debug)]
pub(crate) struct SimArchivePort {
    archive: Archive,
    reader: Arc<ArchiveReader<Archive>>,
    answers: UnboundedSender<ArchiveEvent>,
    answered: UnboundedReceiver<ArchiveEvent>,
}

impl ArchivePort for SimArchivePort {
    fn read(&mut self, ticket: ArchiveTicket, read: ArchiveRead) {
        let (archive, reader) = (self.archive.clone(), self.reader.clone());
        let answers = self.answers.clone();
        {
            let mut used = archive.lock();
            used.reads += 1;
            used.unanswered += 1;
        }
        drop(madsim::task::spawn(async move {
            let result = reader.answer(ticket.partition, read).await;
            archive.count(&result);
            // A node that is gone needs no answer.
            let _ = answers.send(ArchiveEvent { ticket, result });
        }));
    }

    fn poll(&mut self, cx: &mut Context<'_>, events: &mut Vec<ArchiveEvent>) -> Poll<()> {
        let before = events.len();
        while let Poll::Ready(Some(event)) = self.answered.poll_recv(cx) {
            events.push(event);
        }
        if events.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }
}
