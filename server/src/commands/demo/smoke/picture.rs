//! A line that lives: who is up, and how far everybody is.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Progress;
use super::parts::{Bounces, Parts};
use crate::output::Output;

/// How often it is drawn.
pub(super) const EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Picture {
    bar: ProgressBar,
    is_live: bool,
    is_silent: bool,
    output: Output,
    next_line: Instant,
}

impl Picture {
    /// On a terminal a line that changes, elsewhere a line every few seconds; nothing beside JSON.
    pub(super) fn new(transactions: u64, is_silent: bool) -> Self {
        let is_live = std::io::stderr().is_terminal() && !is_silent;
        let target = match is_live {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{msg}\n{bar:40} {pos}/{len} transactions, {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(transactions), target).with_style(style);
        Self { bar, is_live, is_silent, output: Output::new(), next_line: Instant::now() }
    }

    /// Draws how it is now.
    ///
    /// # Errors
    /// When it can't be printed.
    pub(super) fn show(&mut self, parts: &Parts, bounces: &Bounces) -> std::io::Result<()> {
        let committed = parts.committed();
        if self.is_live {
            self.bar.set_position(committed.min(self.bar.length().unwrap_or(committed)));
            self.bar.set_message(describe(parts, bounces, committed));
        } else if !self.is_silent && Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_EVERY;
            self.output.line(describe(parts, bounces, committed))?;
            self.output.flush()?;
        }
        Ok(())
    }

    /// Nothing more is drawn.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// For example `server 1+ server 2- ... | written 1200 read 2380 retries 12 | bounced 7`.
fn describe(parts: &Parts, bounces: &Bounces, committed: u64) -> String {
    let mut line = String::new();
    for part in 0..parts.len() {
        let mark = if bounces.is_away(part) { '-' } else { '+' };
        // Writing to a string can't fail.
        let _ = write!(line, "{}{mark} ", parts.label(part));
    }
    let progress = parts.progress();
    let sum = |of: fn(&Progress) -> u64| progress.iter().map(of).sum::<u64>();
    let read = |progress: &Progress| progress.read.values().map(|read| read.transactions).sum();
    let (written, retries) = (sum(|progress| progress.written), sum(|progress| progress.retries));
    let bounced: u64 = bounces.counts().iter().sum();
    let _ = write!(
        line,
        "| committed {committed} told {written} read {} retries {retries} | bounced {bounced}",
        sum(read)
    );
    line
}
