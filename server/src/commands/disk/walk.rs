//! Walks a journal from its first entry to its last.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use waltz_core::journal::{Fold, FoundBatch, SegmentHeader};
use waltz_core::limits::Limits;
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;
use waltz_runtime::journal::{Examination, Examiner, JournalError, examine, fold_batch};
use waltz_runtime_tokio::ReadOnlyDisk;

use crate::commands::serve::journal_directory;
use crate::exit::Exit;

/// A journal, and the state of the node that its entries lead to.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) examination: Examination,
    pub(super) state: Recovered,
}

impl Walked {
    /// How a command ends that has shown all of it.
    ///
    /// # Errors
    /// When there is more, of which nobody can tell what it was.
    pub(super) fn outcome(&self) -> anyhow::Result<Exit> {
        match self.examination.recovery.suspect {
            Some(damage) => Err(anyhow::Error::new(damage).context("this is not all there was")),
            None => Ok(Exit::Success),
        }
    }
}

/// Where a journal is: in a data directory, or in the directory itself.
fn journal_of(directory: &Path) -> PathBuf {
    let within = journal_directory(directory);
    if within.is_dir() { within } else { directory.to_owned() }
}

/// Visits all batches, and shows a person how far that is.
///
/// # Errors
/// What the visitor says; and when a node runs on the directory, it holds no journal, or what there
/// is contradicts itself.
pub(super) fn walk<V>(directory: &Path, visit: V) -> anyhow::Result<Walked>
where
    V: FnMut(&SegmentHeader, &FoundBatch<'_>) -> anyhow::Result<()>,
{
    let journal = journal_of(directory);
    let mut disk = ReadOnlyDisk::open(&journal)?;
    let state = Recovered::new(Limits::default(), Planted::NONE);
    let mut walk = Walk { state, visit, progress: progress(), last: None };
    let examination = examine(&mut disk, &mut walk)
        .with_context(|| format!("could not read the journal in {}", journal.display()))?;
    walk.progress.finish_and_clear();
    if examination.segments.is_empty() && examination.recovery.suspect.is_none() {
        bail!("{} holds no journal", journal.display());
    }
    let suspect = examination.recovery.suspect.as_ref();
    walk.state.end(suspect).map_err(|reason| JournalError::Refused { reason })?;
    Ok(Walked { examination, state: walk.state })
}

/// On the way.
struct Walk<V> {
    state: Recovered,
    visit: V,
    progress: ProgressBar,
    /// The segment that was seen last.
    last: Option<u32>,
}

impl<V> Examiner for Walk<V>
where
    V: FnMut(&SegmentHeader, &FoundBatch<'_>) -> anyhow::Result<()>,
{
    type Error = anyhow::Error;

    fn begin(&mut self, segments: &[SegmentHeader], released: bool) -> anyhow::Result<()> {
        self.progress.set_length(segments.len() as u64);
        self.state.begin(released).map_err(|reason| JournalError::Refused { reason })?;
        Ok(())
    }

    fn batch(&mut self, segment: &SegmentHeader, batch: FoundBatch<'_>) -> anyhow::Result<()> {
        if self.last.replace(segment.segment) != Some(segment.segment) {
            self.progress.inc(1);
        }
        (self.visit)(segment, &batch)?;
        Ok(fold_batch(segment, batch, &mut self.state)?)
    }
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} segments, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
