//! How a log's beginning gets into an archive: before it is trimmed, all of it was read back.

use std::fmt;

use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;
use serde::Serialize;
use waltz_archive::{Archive, ArchiveError, LogName, Piece, PieceWriter};
use waltz_client::{Client, Mark, TransactionId};

use super::super::log::Log;

/// What is to be in an archive.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Reads the log.
    pub client: &'a Client,
    /// Where it goes.
    pub archive: &'a Archive,
    /// Whose log it is.
    pub log: LogName,
    /// What was trimmed of it.
    pub start: Mark,
    /// The last transaction that is to be there.
    pub to: TransactionId,
    /// Whether the archive may lack what lies between its end and the log's start.
    pub accept_gap: bool,
}

/// What is in an archive now, sound.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// Records that are there and were not before.
    pub records: u64,
    /// The bytes of their objects.
    pub bytes: u64,
    /// Records that were there and were read again.
    pub found: u64,
}

impl fmt::Display for Archived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, bytes, found } = self;
        write!(
            f,
            "{records} transactions written ({bytes} bytes), {found} found there, all read back and \
             sound"
        )
    }
}

/// A partition whose log is in an archive up to some transaction, for programs.
#[derive(Debug, Serialize)]
pub struct ArchivedLine<'a> {
    /// `archived`, or `planned` in a dry run.
    pub outcome: &'static str,
    /// The partition.
    pub partition: u32,
    /// Where the archive is.
    pub archive: &'a str,
    /// The last transaction there.
    pub to: u64,
    /// How it came there.
    #[serde(flatten)]
    pub archived: Option<&'a Archived>,
}

impl Upload<'_> {
    /// Has everything from the log's start on up to the last one in the archive, verified there.
    ///
    /// # Errors
    /// When something can't be read or written, or the archive would have a hole.
    pub async fn run(&self, bar: &ProgressBar) -> anyhow::Result<Archived> {
        if self.start.includes(self.to) {
            return Ok(Archived::default());
        }
        let pieces = self.archive.pieces(self.log).await?;
        let pieces: Vec<_> = pieces.into_keys().collect();
        self.look_for_gap(&pieces)?;
        bar.set_length(self.to.0 + 1 - self.start.count());
        let next = self.verified(&pieces, bar).await?;
        let found = next.0 - self.start.count();
        match next > self.to {
            true => Ok(Archived { found, ..Archived::default() }),
            false => Ok(Archived { found, ..self.write(next, bar).await? }),
        }
    }

    /// What was trimmed and is not in the archive stays unreadable; a hole has to be wanted.
    fn look_for_gap(&self, pieces: &[Piece]) -> anyhow::Result<()> {
        let Some(trimmed) = self.start.id() else { return Ok(()) };
        let partition = self.log.partition.0;
        let Some(last) = pieces.iter().map(|piece| piece.last).max() else {
            tracing::warn!(
                "transactions up to {trimmed} of partition {partition} were trimmed before: the \
                 archive begins with {}",
                self.start.next()
            );
            return Ok(());
        };
        ensure!(
            last >= trimmed || self.accept_gap,
            "transactions {} to {trimmed} of partition {partition} were trimmed and are not in {}, \
             which ends with {last}: it would have a hole, where readers are told that the log starts \
             behind it; say --accept-gap to go on, or name another archive",
            last.0 + 1,
            self.archive.url()
        );
        Ok(())
    }

    /// The first record that no sound piece has of those that come one after another from the log's
    /// start on.
    async fn verified(
        &self,
        pieces: &[Piece],
        bar: &ProgressBar,
    ) -> Result<TransactionId, ArchiveError> {
        let mut next = self.start.next();
        while next <= self.to {
            let Some(piece) = self.sound(pieces, next).await? else { break };
            next = TransactionId(piece.last.0.min(self.to.0) + 1);
            bar.set_position(next.0 - self.start.count());
        }
        Ok(next)
    }

    /// A piece that holds a record and is sound.
    async fn sound(
        &self,
        pieces: &[Piece],
        id: TransactionId,
    ) -> Result<Option<Piece>, ArchiveError> {
        for piece in pieces.iter().filter(|piece| piece.contains(id)) {
            match self.archive.read(self.log, *piece).await {
                Ok(sound) => return Ok(Some(sound.piece())),
                Err(error) if error.is_of_object() => {
                    tracing::warn!("{error}; its records are written again");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes the records from an id on, whatever the archive has, and reads them back.
    ///
    /// # Errors
    /// When something can't be read or written, or is not what was written.
    pub async fn write(&self, next: TransactionId, bar: &ProgressBar) -> anyhow::Result<Archived> {
        let begin = Mark::before(next);
        let mut log = Log::after(self.client, self.log.partition, begin);
        let (mut writer, mut archived) = (PieceWriter::new(self.log, next), Archived::default());
        while writer.next() <= self.to {
            let Some(batch) = log.next_batch().await? else {
                let (partition, end) = (self.log.partition.0, Mark::before(writer.next()));
                bail!("the log of partition {partition} ends with {end}, before {}", self.to)
            };
            ensure!(
                log.start() == begin,
                "the log was trimmed meanwhile, up to {}; run the command again",
                log.start()
            );
            for transaction in batch.into_iter().take_while(|one| one.id() <= self.to) {
                let record = transaction.record().await.context("a transaction has no data")?;
                writer.push(&record);
                if writer.is_full() {
                    let next = writer.next();
                    let full = std::mem::replace(&mut writer, PieceWriter::new(self.log, next));
                    self.store(full, &mut archived, bar).await?;
                }
            }
        }
        self.store(writer, &mut archived, bar).await?;
        Ok(archived)
    }

    async fn store(
        &self,
        writer: PieceWriter,
        archived: &mut Archived,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let Some((piece, bytes)) = writer.end() else { return Ok(()) };
        archived.bytes += bytes.len() as u64;
        archived.records += piece.count();
        self.archive.write(self.log, piece, bytes).await?;
        bar.inc(piece.count());
        Ok(())
    }
}
