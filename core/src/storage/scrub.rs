//! Reads that nobody asked for: the scrub, which goes over all durable records at a bounded rate,
//! and probes, which look closer at pieces of which something is known to be wrong.
//!
//! At most one such read is under way, and probes come first. All rests on the timer: while no
//! round is under way nothing is done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PartitionId, TransactionId};
use crate::io::{Context, Ticket};
use crate::time::Time;

use super::config::ScrubConfig;
use super::decide::Hosted;
use super::reads::Wanted;

/// How many bytes the scrub reads at once, unless a single run is longer.
const READ_BYTES: u32 = 256 << 10;

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Examination {
    /// Whose records.
    pub(super) partition: PartitionId,
    /// Where they are.
    pub(super) wanted: Vec<Wanted>,
    /// It is a part of a round, and the next one waits so that the rate is kept.
    is_paced: bool,
}

impl Examination {
    fn bytes(&self) -> u64 {
        let lengths = self.wanted.iter().map(|wanted| u64::from(wanted.piece.run.place.length));
        lengths.sum()
    }
}

/// What is to be read, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Scrub {
    config: ScrubConfig,
    /// Where the round goes on.
    next: Option<(PartitionId, TransactionId)>,
    due: Option<Time>,
    probes: VecDeque<(PartitionId, Wanted)>,
    under_way: Option<(Ticket, Examination)>,
    /// Rounds that were finished.
    rounds: u64,
    /// Bytes that rounds have read.
    bytes: u64,
}

impl Scrub {
    /// How many rounds were finished, and how many bytes were read in all of them.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.rounds, self.bytes)
    }

    /// Sets the rate.
    pub(super) fn configure(&mut self, config: ScrubConfig) {
        self.config = config;
    }

    /// Begins the first round.
    pub(super) fn start(&mut self, now: Time) {
        self.due = (self.config.bytes_per_second > 0).then_some(now);
    }

    /// A piece is to be looked at closer.
    pub(super) fn probe(&mut self, partition: PartitionId, wanted: Wanted) {
        let same = |(of, probe): &(PartitionId, Wanted)| {
            (*of, probe.piece.run) == (partition, wanted.piece.run)
        };
        if !self.probes.iter().any(same) {
            self.probes.push_back((partition, wanted));
        }
    }

    /// When the next read is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.filter(|_| self.under_way.is_none())
    }

    /// Reads what is next, if nothing is under way and it is time.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        hosted: &BTreeMap<PartitionId, Box<Hosted>>,
    ) {
        if self.under_way.is_some() {
            return;
        }
        let probe = self.probes.pop_front().map(|(partition, wanted)| Examination {
            partition,
            wanted: vec![wanted],
            is_paced: false,
        });
        let is_due = self.due.is_some_and(|due| due <= cx.now);
        let next = probe.or_else(|| is_due.then(|| self.go_on(cx.now, hosted)).flatten());
        if let Some(next) = next {
            self.under_way = Some((cx.read(Wanted::places(&next.wanted)), next));
        }
    }

    /// The next part of the round; none when it is over.
    fn go_on(
        &mut self,
        now: Time,
        hosted: &BTreeMap<PartitionId, Box<Hosted>>,
    ) -> Option<Examination> {
        let next = self.next.take();
        let (begin, id) = next.unwrap_or((PartitionId(0), TransactionId::FIRST));
        for (&partition, hosted) in hosted.range(begin..) {
            let replica = &hosted.replica;
            let first = if partition == begin { id } else { TransactionId::FIRST };
            let first = first.max(replica.summary().start.next());
            let wanted = Wanted::locate(replica, first, replica.last(), READ_BYTES);
            if let Some(last) = wanted.last() {
                self.next = Some((partition, last.piece.ids.last.next()));
                return Some(Examination { partition, wanted, is_paced: true });
            }
        }
        self.rounds += 1;
        self.due = Some(now + self.config.interval);
        None
    }

    /// The read of this ticket, if it is one of these. The round goes on when its bytes are worth
    /// the time that has passed.
    pub(super) fn take(&mut self, ticket: Ticket, now: Time) -> Option<Examination> {
        let (_, read) = self.under_way.take_if(|(under_way, _)| *under_way == ticket)?;
        if read.is_paced {
            let rate = u64::from(self.config.bytes_per_second).max(1);
            self.bytes += read.bytes();
            self.due = Some(now + Duration::from_micros(read.bytes() * 1_000_000 / rate));
        }
        Some(read)
    }
}
