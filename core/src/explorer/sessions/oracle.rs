//! What was ever promised, and whether it still holds.
//!
//! The oracle knows each disk's log from its durable entries alone, and every record that any
//! session said to be committed. After each step: a committed id names the same bytes for ever; a
//! quorum of the replica set's disks holds it, or has trimmed it; no session commits what a higher
//! one, once open, lacks; a low-water mark covers committed records only; replica sets change one
//! at a time, each after the last one was committed; and what claims to be current is.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cluster::Cluster;
use super::event::Event;
use crate::explorer::explore::Broken;
use crate::id::{Mark, Member, ReplicaSet, SessionId, SetVersion, TransactionId};
use crate::io::Level;
use crate::journal::EntryHead;
use crate::limits::Limits;
use crate::log::SetChange;
use crate::record::Run;
use crate::sequencer::SequencerOutput;
use crate::storage::testing::Rig;

/// One disk, as its durable entries say.
#[derive(Debug, Default)]
struct Disk {
    entries: usize,
    log: Vec<Bytes>,
    /// Everything before was trimmed; the log keeps its place.
    start: usize,
    /// The replica sets of this log.
    sets: Vec<SetChange>,
    low_water: Mark,
    /// How much of what it knows to be committed was compared.
    compared: usize,
    /// The disk lost entries. What it held then counts as lost by that, and what it holds from now
    /// on as nothing.
    is_lost: bool,
}

impl Disk {
    /// Takes in what became durable. Whether anything was cut.
    fn catch_up(&mut self, rig: &Rig, committed: &[Bytes]) -> Result<bool, Broken> {
        if self.is_lost {
            return Ok(false);
        }
        let newly = &rig.journal[self.entries..rig.durable];
        self.entries = rig.durable;
        let mut was_cut = false;
        for written in newly {
            let (head, body) = (&written.head, written.sound());
            match head {
                EntryHead::Records { session, first, count, low_water, .. } => {
                    assert_eq!(first.0 as usize, self.log.len());
                    let (limits, body) = (Limits::default(), body.clone());
                    let run = Run::verify(*session, *first, *count, body, &limits);
                    self.log.extend(records(&run.expect("sound records are written")));
                    self.low_water = *low_water;
                }
                EntryHead::Cut { keep, .. } => {
                    self.log.truncate(keep.last.count() as usize);
                    self.sets.retain(|set| set.version <= keep.version);
                    was_cut = true;
                }
                EntryHead::Create { set, .. } => self.sets = vec![set.clone()],
                EntryHead::Change { change, .. } => self.sets.push(change.clone()),
                EntryHead::Repair { session, first, count, .. } => {
                    let (limits, body) = (Limits::default(), body.clone());
                    let run = Run::verify(*session, *first, *count, body, &limits);
                    let run = run.expect("sound records are written");
                    for (id, record) in (first.0 as usize..).zip(records(&run)) {
                        if let Some(held) = self.log.get_mut(id) {
                            *held = record;
                        }
                    }
                    was_cut = true;
                }
                EntryHead::Trim { start, .. } => {
                    self.start = start.count() as usize;
                    if self.start > committed.len() {
                        return Err(format!("{} trims what is not committed", rig.member.node));
                    }
                }
                EntryHead::Reset { base, .. } => {
                    // Only what is committed is trimmed, so that is what it starts over after.
                    self.start = base.start.count() as usize;
                    self.log = committed[..self.start].to_vec();
                    self.low_water = base.start;
                    self.sets.clone_from(&base.sets);
                    was_cut = true;
                }
                EntryHead::LowWater { mark, .. } => self.low_water = *mark,
                _ => {}
            }
        }
        Ok(was_cut)
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
pub(crate) struct Oracle {
    /// The newest replica set that any session said to be committed.
    set: SetChange,
    disks: BTreeMap<Member, Disk>,
    committed: Vec<Bytes>,
    sessions: BTreeMap<SessionId, Known>,
    /// Servers were made to lie: replicas report it.
    hears_lies: bool,
}

impl Oracle {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let disks = cluster.nodes.values().map(|rig| (rig.member, Disk::default())).collect();
        let set = SetChange::initial(SetVersion::FIRST, cluster.set.clone());
        Self { set, disks, committed: Vec::new(), sessions: BTreeMap::new(), hears_lies: false }
    }

    /// The newest replica set that is committed.
    pub(crate) fn replicas(&self) -> &ReplicaSet {
        &self.set.replicas
    }

    /// The highest id anyone said to be committed.
    pub(crate) fn committed(&self) -> Mark {
        Mark::before(TransactionId(self.committed.len() as u64))
    }

    /// Whether this disk has a committed record as it should be.
    pub(crate) fn is_held_by(&self, member: Member, id: TransactionId) -> bool {
        let record = self.committed.get(id.0 as usize);
        let log = self.disks.get(&member).map(|disk| &disk.log);
        record.is_some() && log.and_then(|log| log.get(id.0 as usize)) == record
    }

    /// A disk is about to lose entries.
    pub(crate) fn lose(&mut self, member: Member) {
        self.disks.entry(member).or_default().is_lost = true;
    }

    /// Whether a disk lost entries.
    pub(crate) fn is_lost(&self, member: Member) -> bool {
        self.disks.get(&member).is_some_and(|disk| disk.is_lost)
    }

    /// From now on replicas may report servers that lie.
    pub(crate) fn hears_lies(&mut self) {
        self.hears_lies = true;
    }

    /// A session is asked to confirm that it is current.
    pub(crate) fn asked(&mut self, session: SessionId, round: u64) {
        let committed = self.committed();
        self.sessions.entry(session).or_default().rounds.insert(round, committed);
    }

    /// Checks what happened in a step and what it left.
    pub(crate) fn check(&mut self, cluster: &Cluster, events: &[Event]) -> Result<(), Broken> {
        let mut was_cut = false;
        for rig in cluster.nodes.values() {
            let disk = self.disks.entry(rig.member).or_default();
            was_cut |= disk.catch_up(rig, &self.committed)?;
        }
        for event in events {
            match event {
                Event::Said { session, output } => self.on_said(*session, output)?,
                Event::Reported { node, report }
                    if self.is_alarming(&report.text, report.level) =>
                {
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
            SequencerOutput::SetCommitted(change) => self.on_set(session, change),
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

    /// The set is committed: it is on a quorum of its own disks, and changes the one before by one
    /// replica. A later session may say so again.
    fn on_set(&mut self, session: SessionId, change: &SetChange) -> Result<(), Broken> {
        if change.version < self.set.version {
            return Ok(());
        }
        if change.version == self.set.version {
            return match *change == self.set {
                true => Ok(()),
                false => Err(format!("{session} commits another set {}", change.version)),
            };
        }
        let (before, after) = (&self.set.replicas.0, &change.replicas.0);
        let gone = before.iter().filter(|member| !after.contains(member)).count();
        let new = after.iter().filter(|member| !before.contains(member)).count();
        if change.version != self.set.version.next() || gone + new != 1 {
            return Err(format!("{session} changes {:?} to {change:?}", self.set));
        }
        let has = |disk: &Disk| disk.sets.contains(change);
        let holders = after.iter().filter(|member| self.disks.get(member).is_some_and(has));
        if holders.count() < change.replicas.quorum() {
            return Err(format!("{session} commits a set that no quorum has: {change:?}"));
        }
        self.set = change.clone();
        Ok(())
    }

    /// The record that most disks of the replica set hold at an id.
    fn most_held(&self, id: usize) -> Option<Bytes> {
        let disks = self.set.replicas.0.iter().filter_map(|member| self.disks.get(member));
        let held: Vec<_> = disks.filter_map(|disk| disk.log.get(id)).collect();
        let copies = |record: &&&Bytes| held.iter().filter(|other| other == record).count();
        held.iter().max_by_key(copies).map(|record| (*record).clone())
    }

    /// A quorum of the replica set holds a committed record; of the newest one that is committed,
    /// or of one that follows it and is not committed yet.
    fn check_held(&self, id: usize) -> Result<(), Broken> {
        let record = &self.committed[id];
        let holds = |disk: &Disk| id < disk.start || disk.log.get(id) == Some(record);
        let held = |set: &ReplicaSet| {
            let holders = set.0.iter().filter(|member| self.disks.get(member).is_some_and(holds));
            holders.count() >= set.quorum()
        };
        let next = self.set.version.next();
        let mut pending = self.disks.values().flat_map(|disk| &disk.sets);
        if held(&self.set.replicas) || pending.any(|set| set.version == next && held(&set.replicas))
        {
            return Ok(());
        }
        let holders: Vec<_> = self.disks.iter().filter(|(_, disk)| holds(disk)).collect();
        let holders: Vec<_> = holders.iter().map(|(member, _)| member.node).collect();
        Err(format!("committed record {id} is on {holders:?} of {:?}", self.set.replicas))
    }

    fn check_low_water(&mut self) -> Result<(), Broken> {
        for (member, disk) in self.disks.iter_mut().filter(|(_, disk)| !disk.is_lost) {
            let node = member.node;
            let to = disk.low_water.count() as usize;
            if to > disk.log.len() {
                return Err(format!("{node} lacks what it knows to be committed"));
            }
            let from = disk.compared.min(to);
            let committed = self.committed.get(from..to);
            if committed != Some(&disk.log[from..to]) {
                return Err(format!("{node} believes {} to be committed", disk.low_water));
            }
            disk.compared = to;
        }
        Ok(())
    }

    /// Whether what happened can't be the reason.
    fn is_alarming(&self, text: &str, level: Level) -> bool {
        let of_faults = ["input/output error", "be read here"];
        let of_lies = ["of another session", "are not the chosen log's"];
        let of_lies = of_lies.iter().filter(|_| self.hears_lies);
        let is_expected = of_faults.iter().chain(of_lies).any(|words| text.contains(words));
        level > Level::Info && !is_expected
    }
}
