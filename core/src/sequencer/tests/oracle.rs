//! What was ever promised, and whether it still holds.
//!
//! The oracle knows each disk's log from its durable entries alone, and every record that any
//! session said to be committed. After each step: a committed id names the same bytes for ever; a
//! quorum of disks holds it; no session commits what a higher one, once open, lacks; a low-water
//! mark covers committed records only; and what claims to be current is.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cluster::{Cluster, Event};
use crate::id::{Mark, NodeId, SessionId, TransactionId};
use crate::io::Level;
use crate::journal::EntryHead;
use crate::limits::Limits;
use crate::record::Run;
use crate::sequencer::SequencerOutput;
use crate::storage::testing::{Rig, Written};

/// What is broken, in words.
pub(super) type Broken = String;

/// One disk, as its durable entries say.
#[derive(Debug, Default)]
struct Disk {
    entries: usize,
    log: Vec<Bytes>,
    low_water: Mark,
    /// How much of what it knows to be committed was compared.
    compared: usize,
}

impl Disk {
    /// Takes in what became durable. Whether anything was cut.
    fn catch_up(&mut self, rig: &Rig) -> bool {
        let newly = &rig.journal[self.entries..rig.durable];
        self.entries = rig.durable;
        let mut was_cut = false;
        for Written { head, body, .. } in newly {
            match head {
                EntryHead::Records { session, first, count, low_water, .. } => {
                    assert_eq!(first.0 as usize, self.log.len());
                    let (limits, body) = (Limits::default(), body.clone());
                    let run = Run::verify(*session, *first, *count, body, &limits);
                    self.log.extend(records(&run.expect("sound records are written")));
                    self.low_water = *low_water;
                }
                EntryHead::Cut { keep, .. } => {
                    self.log.truncate(keep.count() as usize);
                    was_cut = true;
                }
                EntryHead::LowWater { mark, .. } => self.low_water = *mark,
                _ => {}
            }
        }
        was_cut
    }
}

/// The records of a run, in order.
fn records(run: &Run) -> impl Iterator<Item = Bytes> {
    let mut offset = 0;
    run.records().map(move |record| {
        let start = offset;
        offset += record.bytes().len();
        run.bytes.slice(start..offset)
    })
}

/// What is known of one session.
#[derive(Debug, Default)]
struct Known {
    /// The prefix it opened with; none before.
    prefix: Option<Mark>,
    /// What it said to be committed.
    committed: Mark,
    /// What the whole cluster had committed when a round was asked for.
    rounds: BTreeMap<u64, Mark>,
}

/// The oracle.
#[derive(Debug)]
pub(super) struct Oracle {
    quorum: usize,
    disks: BTreeMap<NodeId, Disk>,
    committed: Vec<Bytes>,
    sessions: BTreeMap<SessionId, Known>,
}

impl Oracle {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let disks = cluster.nodes.keys().map(|node| (*node, Disk::default())).collect();
        let quorum = cluster.set.quorum();
        Self { quorum, disks, committed: Vec::new(), sessions: BTreeMap::new() }
    }

    /// The highest id anyone said to be committed.
    pub(super) fn committed(&self) -> Mark {
        Mark::before(TransactionId(self.committed.len() as u64))
    }

    /// A session is asked to confirm that it is current.
    pub(super) fn asked(&mut self, session: SessionId, round: u64) {
        let committed = self.committed();
        self.sessions.entry(session).or_default().rounds.insert(round, committed);
    }

    /// Checks what happened in a step and what it left.
    pub(super) fn check(&mut self, cluster: &Cluster, events: &[Event]) -> Result<(), Broken> {
        let mut was_cut = false;
        for (node, rig) in &cluster.nodes {
            let disk = self.disks.get_mut(node).expect("the same nodes all along");
            was_cut |= disk.catch_up(rig);
        }
        for event in events {
            match event {
                Event::Said { session, output } => self.on_said(*session, output)?,
                Event::Reported { node, report } if is_alarming(&report.text, report.level) => {
                    return Err(format!("{node} reports: {}", report.text));
                }
                _ => {}
            }
        }
        if was_cut {
            (0..self.committed.len()).try_for_each(|id| self.check_held(id))?;
        }
        self.check_low_water()
    }

    fn on_said(&mut self, session: SessionId, output: &SequencerOutput) -> Result<(), Broken> {
        match output {
            SequencerOutput::Opened { committed } => self.on_opened(session, *committed),
            SequencerOutput::Committed(run) => self.on_committed(session, run),
            SequencerOutput::Confirmed { round, committed } => {
                let known = self.sessions.entry(session).or_default();
                let before = known.rounds.get(round).copied().ok_or("a round nobody asked for")?;
                match *committed >= before {
                    true => Ok(()),
                    false => Err(format!("{session} confirms {committed}, {before} was committed")),
                }
            }
            SequencerOutput::Records { run, .. } => {
                let ids = (run.first.0 as usize..).zip(records(run));
                let mut ids = ids.filter(|(id, record)| self.committed.get(*id) != Some(record));
                match ids.next() {
                    None => Ok(()),
                    Some((id, _)) => Err(format!("{session} reads another record {id}")),
                }
            }
            SequencerOutput::Over { reason, .. } if reason.contains("compare the two disks") => {
                Err(format!("{session} is over: {reason}"))
            }
            _ => Ok(()),
        }
    }

    fn on_opened(&mut self, session: SessionId, prefix: Mark) -> Result<(), Broken> {
        let lacks = |(_, known): &(&SessionId, &Known)| known.committed > prefix;
        if let Some((before, known)) = self.sessions.range(..session).find(lacks) {
            let committed = known.committed;
            return Err(format!("{session} opens at {prefix}, {before} committed {committed}"));
        }
        let known = self.sessions.entry(session).or_default();
        known.prefix = Some(prefix);
        known.committed = prefix;
        for id in 0..prefix.count() as usize {
            if id == self.committed.len() {
                let record = self.most_held(id).ok_or(format!("no disk holds {id}"))?;
                self.committed.push(record);
            }
            self.check_held(id)?;
        }
        Ok(())
    }

    fn on_committed(&mut self, session: SessionId, run: &Run) -> Result<(), Broken> {
        let known = self.sessions.entry(session).or_default();
        if known.prefix.is_none() || run.first != known.committed.next() || run.session != session {
            return Err(format!("{session} commits {} after {}", run.first, known.committed));
        }
        known.committed = run.last();
        let lacks = |(later, known): &(&SessionId, &Known)| {
            **later > session && known.prefix.is_some_and(|prefix| prefix < run.last())
        };
        if let Some((later, _)) = self.sessions.iter().find(lacks) {
            return Err(format!("{session} commits to {}, which {later} lacks", run.last()));
        }
        for (id, record) in (run.first.0 as usize..).zip(records(run)) {
            if id == self.committed.len() {
                self.committed.push(record.clone());
            }
            if self.committed[id] != record {
                return Err(format!("{session} commits another record {id}"));
            }
            self.check_held(id)?;
        }
        Ok(())
    }

    /// The record that most disks hold at an id.
    fn most_held(&self, id: usize) -> Option<Bytes> {
        let held: Vec<_> = self.disks.values().filter_map(|disk| disk.log.get(id)).collect();
        let copies = |record: &&&Bytes| held.iter().filter(|other| other == record).count();
        held.iter().max_by_key(copies).map(|record| (*record).clone())
    }

    /// A quorum of disks holds a committed record.
    fn check_held(&self, id: usize) -> Result<(), Broken> {
        let record = &self.committed[id];
        let holds = |disk: &&Disk| disk.log.get(id) == Some(record);
        let copies = self.disks.values().filter(holds).count();
        match copies >= self.quorum {
            true => Ok(()),
            false => Err(format!("committed record {id} is on {copies} disks")),
        }
    }

    fn check_low_water(&mut self) -> Result<(), Broken> {
        for (node, disk) in &mut self.disks {
            let to = disk.low_water.count() as usize;
            if to > disk.log.len() {
                return Err(format!("{node} lacks what it knows to be committed"));
            }
            let (from, committed) = (disk.compared, self.committed.get(disk.compared..to));
            if committed != Some(&disk.log[from..to]) {
                return Err(format!("{node} believes {} to be committed", disk.low_water));
            }
            disk.compared = to;
        }
        Ok(())
    }
}

/// Whether honest servers and sound disks can't be the reason.
fn is_alarming(text: &str, level: Level) -> bool {
    level > Level::Info && !text.contains("input/output error")
}
