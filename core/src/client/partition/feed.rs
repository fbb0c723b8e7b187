//! Committed transactions of one partition, from the server to the application.
//!
//! ```text
//!   0 ─────── applied ─────────── received ───────────▶ log
//!       done     └─ in memory, at most the credit ─┘
//! ```
//!
//! Invariants: `applied <= received`; `runs` holds everything between the two without a gap (and
//! the applied part of its first run); credit held by the server, bytes in `runs` and bytes freed
//! but not granted add up to the configured credit, unless a server overdraws by a record.

use std::collections::VecDeque;
use std::time::Duration;

use crate::id::{Mark, MountId, PartitionId, TransactionId};
use crate::io::ConnectionId;
use crate::record::Run;
use crate::time::Time;
use crate::wire::ClientRequest;

use super::super::base::Base;
use super::super::call::{CallId, Ending};
use super::super::io::{Attachment, ClientEffect};

/// The first pause before a transaction that failed to apply comes again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Feed {
    attachment: Attachment,
    pub(super) applied: Mark,
    pub(super) received: Mark,
    runs: VecDeque<Run>,
    /// Bytes in `runs`.
    held: usize,
    /// Bytes freed and not granted again.
    freed: usize,
    /// Own calls whose commit was seen and not yet passed on, ascending.
    owned: VecDeque<(TransactionId, CallId)>,
    /// Whether the application is applying.
    applying: bool,
    /// Not to be tried again before this.
    pause: Option<Time>,
    failures: u32,
}

impl Feed {
    pub(super) fn new(attachment: Attachment, start: Mark) -> Self {
        Self {
            attachment,
            applied: start,
            received: start,
            runs: VecDeque::new(),
            held: 0,
            freed: 0,
            owned: VecDeque::new(),
            applying: false,
            pause: None,
            failures: 0,
        }
    }

    fn partition(&self) -> PartitionId {
        self.attachment.partition
    }

    /// The credit of a new mount: all of it, but for what is held.
    pub(super) fn mounted(&mut self, base: &Base) -> u32 {
        self.freed = 0;
        base.config.credit_bytes.saturating_sub(self.held as u32)
    }

    /// Takes a run in: the part of it that is new. `Err`: what is wrong with it.
    pub(super) fn receive(&mut self, base: &Base, run: &Run) -> Result<Option<Run>, String> {
        if run.first > self.received.next() {
            return Err(format!("the feed leaves out {} to {}", self.received.next(), run.first));
        }
        let new = run.slice(self.received.next(), run.last());
        let new_bytes = new.as_ref().map_or(0, |new| new.bytes.len());
        self.freed += run.bytes.len() - new_bytes;
        let most = base.config.credit_bytes as usize + base.config.limits.frame_payload as usize;
        if self.held + new_bytes > most {
            return Err("the feed brings more than was granted".to_owned());
        }
        if let Some(new) = &new {
            self.received = new.last();
            self.held += new_bytes;
            self.runs.push_back(new.clone());
        }
        Ok(new)
    }

    /// An own call was committed by a transaction just received.
    pub(super) fn own(&mut self, id: TransactionId, call: CallId) {
        self.owned.push_back((id, call));
    }

    /// Gives the application what is ready, if it is.
    pub(super) fn pump(&mut self, base: &mut Base) {
        if self.applying || self.runs.is_empty() {
            return;
        }
        if let Some(pause) = self.pause {
            if pause > base.now {
                base.wake_by(pause);
                return;
            }
            self.pause = None;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for run in &self.runs {
            if bytes >= base.config.batch_bytes as usize {
                break;
            }
            bytes += run.bytes.len();
            batch.extend(run.slice(self.applied.next(), run.last()));
        }
        let last = batch.last().map_or(self.applied, Run::last);
        let mut owned = Vec::new();
        while let Some(one) = self.owned.pop_front_if(|(id, _)| last.includes(*id)) {
            owned.push(one);
        }
        self.applying = true;
        base.push(ClientEffect::Apply { attachment: self.attachment, runs: batch, owned });
    }

    /// The application has applied up to a mark, and stopped there if it failed.
    pub(super) fn on_applied(&mut self, base: &mut Base, mark: Mark, failed: bool) {
        assert!(self.applying, "what is applied was given to be applied");
        assert!(
            self.applied <= mark && mark <= self.received,
            "the application applied {mark}, of {} to {}",
            self.applied,
            self.received
        );
        self.applying = false;
        if mark > self.applied {
            self.failures = 0;
        }
        self.applied = mark;
        while let Some(run) = self.runs.pop_front_if(|run| run.last() <= mark) {
            self.held -= run.bytes.len();
            self.freed += run.bytes.len();
        }
        if failed {
            let until = base.now + base.pause_after(self.failures, FIRST_PAUSE, LONGEST_PAUSE);
            self.failures += 1;
            self.pause = Some(until);
            base.wake_by(until);
        }
    }

    /// Grants freed bytes again, once they are worth a message. A server never waits for less:
    /// it still holds the rest, or what it sent is yet to be freed.
    pub(super) fn grant(&mut self, base: &mut Base, conn: ConnectionId, mount: MountId) {
        if self.freed == 0 || self.freed < base.config.credit_bytes as usize / 4 {
            return;
        }
        let bytes = u32::try_from(std::mem::take(&mut self.freed)).unwrap_or(u32::MAX);
        base.ask(conn, ClientRequest::Credit { partition: self.partition(), mount, bytes });
    }

    /// Nothing more will be applied: what is committed ends as that.
    pub(super) fn end(&mut self, base: &mut Base) {
        for (id, call) in self.owned.drain(..) {
            base.end(call, Ending::Committed(id));
        }
    }
}
