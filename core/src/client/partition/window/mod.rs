//! Appends and contexts of one partition, from their call until they end.
//!
//! ```text
//!   submit ──▶ waiting ──▶ executing ──▶ outstanding ──▶ committed (the feed says so)
//!   append ──▶ waiting ───────────────▶      │
//!                 ▲                          ├─ conflict ──▶ blocked, until applied ─┐
//!                 │                          ├─ busy ──────▶ paused, for a moment ───┤
//!                 └──────────── contexts ◀───┴─ lost ────────────────────────────────┘
//! ```
//!
//! Invariants: every call is in exactly one of these places until it ends, once. `outstanding` is
//! ascending by sequence and belongs to one mount: a newer mount sends nothing before its `Ready`,
//! which ends all that is older. Only what is outstanding can be in the log unknown to us. What the
//! application gives up there has ended and stays outstanding until it is decided.
//!
//! A client's id is random, and all the same two may have one: where a process was copied, or where
//! random numbers are not. Each mount therefore sends sequences that nobody else has sent under this
//! id, drawn when it is ready: a copy made later has no connection that appends through this mount.

mod deciding;
mod doubts;
mod giving_up;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::id::{Generation, Mark, MountId, PartitionId, ReqId, SessionId, TransactionId};
use crate::io::ConnectionId;
use crate::planted::PlantedBug;
use crate::record::NewRecord;
use crate::time::Time;
use crate::wire::{ClientRequest, Message};

use crate::client::base::Base;
use crate::client::call::{CallId, Draft, Ending, Executed, Failure, Patience};
use crate::client::io::ClientEffect;
use doubts::Doubts;

/// How many bits of a sequence count attempts; those above are drawn for each mount.
const COUNT_BITS: u32 = 32;
/// Where a frame of appends is cut, in bytes.
const FRAME_BYTES: usize = 1 << 20;

/// A mount that takes appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) conn: ConnectionId,
    pub(super) mount: MountId,
    pub(super) session: SessionId,
    pub(super) generation: Generation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    partition: PartitionId,
    /// Where the client's feed started: the mark of appends that name none.
    start: Mark,
    /// Own ReqIds were looked for in the log up to here.
    seen: Mark,
    next_sequence: u64,
    waiting: VecDeque<Waiting>,
    executing: BTreeMap<CallId, (Attempt, Mark)>,
    outstanding: VecDeque<Outstanding>,
    blocked: BTreeMap<(TransactionId, CallId), Attempt>,
    paused: VecDeque<(Time, Attempt)>,
    deadlines: BTreeSet<(Time, CallId)>,
    doubts: Doubts,
    /// Records to be sent at the end of the turn.
    frame: BytesMut,
    count: u32,
    /// When one of them was last decided, or the first one sent.
    progress: Time,
}

/// One call and what is left of its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    call: CallId,
    kind: Kind,
    deadline: Option<Time>,
    retries: Option<u32>,
    /// Since when it waits for the mount.
    since: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sent once.
    Append,
    /// Executed until it commits.
    Context,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Execute(Attempt),
    Send(Attempt, Draft, Option<Mark>),
}

impl Waiting {
    fn attempt(&self) -> &Attempt {
        match self {
            Self::Execute(attempt) | Self::Send(attempt, ..) => attempt,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outstanding {
    sequence: u64,
    generation: Generation,
    attempt: Attempt,
    /// Its call has ended in doubt.
    given_up: bool,
}

impl Window {
    pub(super) fn new(partition: PartitionId, next_sequence: u64) -> Self {
        Self {
            partition,
            start: Mark::NONE,
            seen: Mark::NONE,
            next_sequence,
            waiting: VecDeque::new(),
            executing: BTreeMap::new(),
            outstanding: VecDeque::new(),
            blocked: BTreeMap::new(),
            paused: VecDeque::new(),
            deadlines: BTreeSet::new(),
            doubts: Doubts::default(),
            frame: BytesMut::new(),
            count: 0,
            progress: Time::ZERO,
        }
    }

    /// Sequences count on under a number that is drawn now.
    fn draw_sequences(&mut self, base: &mut Base) {
        // Clients of one id may have one seed, too; but not mounts that are ready in one nanosecond.
        base.random.stir(base.now);
        let counted = (1 << COUNT_BITS) - 1;
        // The uppermost bit stays free, for a count that outgrows its bits.
        let drawn = base.random.bits() >> 1 & !counted;
        self.next_sequence = drawn | self.next_sequence & counted;
    }

    /// The sequence of the next record; never used again.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// It is known where the feed starts.
    pub(super) fn start(&mut self, base: &mut Base, mark: Mark) {
        self.start = mark;
        self.seen = mark;
        self.doubts.start(base, mark);
    }

    /// The feed has come up to here, and was looked through for own ReqIds.
    pub(super) fn seen(&mut self, mark: Mark) {
        self.seen = mark;
    }

    pub(super) fn submit(&mut self, base: &mut Base, call: CallId, patience: Patience) {
        if patience.is_over() {
            return base.end(call, Ending::Failed(Failure::Deadline));
        }
        let attempt = self.attempt(base, call, Kind::Context, patience);
        self.waiting.push_back(Waiting::Execute(attempt));
    }

    pub(super) fn append(
        &mut self,
        base: &mut Base,
        call: CallId,
        draft: Draft,
        at: Option<Mark>,
        patience: Patience,
    ) {
        if patience.is_over() {
            return base.end(call, Ending::Failed(Failure::Deadline));
        }
        let attempt = self.attempt(base, call, Kind::Append, patience);
        self.waiting.push_back(Waiting::Send(attempt, draft, at));
    }

    fn attempt(
        &mut self,
        base: &mut Base,
        call: CallId,
        kind: Kind,
        patience: Patience,
    ) -> Attempt {
        let since = base.now;
        let deadline = patience.timeout.map(|timeout| base.now + timeout);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, call));
            base.wake_by(deadline);
        }
        Attempt { call, kind, deadline, retries: patience.retries, since }
    }

    /// Moves on what waits, as far as there is room. Without a gate nothing moves.
    pub(super) fn pump(&mut self, base: &mut Base, gate: Option<&Gate>, applied: Mark) {
        let Some(gate) = gate else {
            if !self.waiting.is_empty() {
                base.wake_by(base.now + base.config.mount_timeout);
            }
            return;
        };
        while self.outstanding.len() + self.executing.len() < base.config.max_outstanding {
            match self.waiting.pop_front() {
                None => break,
                Some(Waiting::Send(attempt, draft, at)) => {
                    let at = at.unwrap_or(self.start);
                    self.encode(base, gate, attempt, &draft, at);
                }
                Some(Waiting::Execute(attempt)) => {
                    if self.executing.len() >= base.config.max_executing {
                        self.waiting.push_front(Waiting::Execute(attempt));
                        break;
                    }
                    let (call, partition) = (attempt.call, self.partition);
                    self.executing.insert(call, (attempt, applied));
                    base.push(ClientEffect::Execute { call, partition, at: applied });
                }
            }
        }
    }

    /// A context was executed. One that has ended meanwhile is not known any more.
    pub(super) fn executed(
        &mut self,
        base: &mut Base,
        gate: Option<&Gate>,
        call: CallId,
        result: Executed,
    ) {
        let Some((mut attempt, at)) = self.executing.remove(&call) else { return };
        match (result, gate) {
            (Executed::Append(draft), Some(gate)) => self.encode(base, gate, attempt, &draft, at),
            (Executed::Append(draft), None) => {
                attempt.since = base.now;
                self.waiting.push_front(Waiting::Send(attempt, draft, Some(at)));
            }
            (Executed::Ignored, _) => self.end(base, &attempt, Ending::Ignored),
            (Executed::Failed, _) => self.fail(base, &attempt, Failure::Context),
        }
    }

    fn encode(&mut self, base: &mut Base, gate: &Gate, attempt: Attempt, draft: &Draft, at: Mark) {
        let sequence = self.next_sequence;
        let req_id = ReqId {
            client: base.id,
            generation: gate.generation,
            partition: self.partition,
            sequence,
        };
        let record = NewRecord {
            req_id,
            header: draft.header,
            computed_at: at,
            writes: &draft.writes,
            reads: &draft.reads,
            appends: &draft.appends,
            data: &draft.data,
        };
        let most = FRAME_BYTES.min(base.config.limits.frame_payload as usize);
        if self.count > 0 && self.frame.len() + record.encoded_bytes() > most {
            self.send(base, gate);
        }
        if let Err(error) = record.encode(&base.config.limits, &mut self.frame) {
            self.fail(base, &attempt, Failure::Record(error));
            return;
        }
        self.next_sequence += 1;
        self.count += 1;
        if self.outstanding.is_empty() {
            self.progress = base.now;
            base.wake_by(base.now + base.config.nudge_interval);
        }
        let (generation, given_up) = (gate.generation, false);
        self.outstanding.push_back(Outstanding { sequence, generation, attempt, given_up });
    }

    /// Sends the records of this turn as one frame.
    pub(super) fn send(&mut self, base: &mut Base, gate: &Gate) {
        if self.count == 0 {
            return;
        }
        let message = Message::Client(ClientRequest::Append {
            partition: self.partition,
            mount: gate.mount,
            session: gate.session,
            count: std::mem::take(&mut self.count),
        });
        let frame = message.with(self.frame.split().freeze());
        base.push(ClientEffect::Send { conn: gate.conn, frame });
    }

    /// The mount is gone: what was not sent yet goes the way of what got lost.
    pub(super) fn closed(&mut self, base: &Base) {
        self.frame.clear();
        self.count = 0;
        if base.config.planted.has(PlantedBug::DuplicateRequest) {
            let undecided = self.outstanding.front().map(|one| one.sequence);
            self.next_sequence = undecided.unwrap_or(self.next_sequence);
        }
    }

    fn fail(&mut self, base: &mut Base, attempt: &Attempt, failure: Failure) {
        self.end(base, attempt, Ending::Failed(failure));
    }

    fn end(&mut self, base: &mut Base, attempt: &Attempt, ending: Ending) {
        self.forget_deadline(attempt);
        base.end(attempt.call, ending);
    }

    fn forget_deadline(&mut self, attempt: &Attempt) {
        if let Some(deadline) = attempt.deadline {
            self.deadlines.remove(&(deadline, attempt.call));
        }
    }

    /// Since when something is outstanding and nothing was decided.
    pub(super) fn stuck_since(&self) -> Option<Time> {
        (!self.outstanding.is_empty()).then_some(self.progress)
    }

    /// Whether a call made before `before` has not been decided.
    pub(super) fn has_older(&self, before: CallId) -> bool {
        let older = |attempt: &Attempt| attempt.call < before;
        self.waiting.iter().any(|one| older(one.attempt()))
            || self.executing.keys().any(|call| *call < before)
            || self.outstanding.iter().any(|one| older(&one.attempt))
            || self.blocked.values().any(older)
            || self.paused.iter().any(|(_, attempt)| older(attempt))
    }
}
