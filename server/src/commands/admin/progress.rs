//! How far moves of replicas are, and the ways to show it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::plan::Move;
use crate::commands::status::{MemberLine, PartitionLine, ReplicaLine};
use crate::output::Output;

/// How far a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Progress {
    /// The partition.
    pub(super) partition: u32,
    /// Whether it has the replicas that are wanted, and the coordinator knows.
    pub(super) done: bool,
    /// The version of its replica set.
    version: u64,
    /// The nodes of its replica set.
    replicas: Vec<u32>,
    /// How many records new replicas have.
    copied: u64,
    /// How many they need.
    to_copy: u64,
    /// How many they got a second, so far.
    records_per_second: u64,
    /// What the wanted replicas do that don't count or have not joined.
    waits_for: Vec<String>,
}

impl Progress {
    /// How far a move is, by what the partition's server says, so long after it was asked for.
    pub(super) fn of(
        planned: &Move,
        line: &PartitionLine,
        recorded: &[MemberLine],
        elapsed: Duration,
    ) -> Self {
        let lines = |members: &mut dyn Iterator<Item = MemberLine>| members.collect::<Vec<_>>();
        let wanted = lines(&mut planned.to.iter().copied().map(MemberLine::from));
        let new = lines(&mut planned.to.difference(&planned.from).copied().map(MemberLine::from));
        let count = |id: Option<u64>| id.map_or(0, |id| id + 1);
        let length = count(line.hwm).saturating_sub(count(line.start));
        let copied = |replica: &ReplicaLine| {
            let is_new = new.iter().any(|member| {
                member.node == replica.node && replica.disk.as_ref() == Some(&member.disk)
            });
            let held = count(replica.last).saturating_sub(count(line.start)).min(length);
            if is_new { held } else { 0 }
        };
        let copied = line.replicas.iter().map(copied).sum::<u64>();
        let named = |node: u32| wanted.iter().any(|member| member.node == node);
        let late =
            line.replicas.iter().filter(|replica| named(replica.node) && !replica.has_joined());
        let waits_for = late.map(|replica| format!("node {} is {}", replica.node, replica.state));
        Self {
            partition: line.partition,
            done: line.members == wanted && recorded == wanted,
            version: line.version,
            replicas: line.members.iter().map(|member| member.node).collect(),
            copied,
            to_copy: length * new.len() as u64,
            records_per_second: (copied as f64 / elapsed.as_secs_f64().max(0.001)) as u64,
            waits_for: waits_for.collect(),
        }
    }

    fn percent(&self) -> u64 {
        (self.copied * 100).checked_div(self.to_copy).unwrap_or(100)
    }

    /// In a word, or what it waits for.
    fn state(&self) -> String {
        match (self.done, self.waits_for.is_empty()) {
            (true, _) => "done".to_owned(),
            (false, true) => "changing".to_owned(),
            (false, false) => self.waits_for.join("; "),
        }
    }

    /// Whether a line about it would say more than the one before; a tenth of a copy is.
    fn is_news(&self, former: Option<&Self>) -> bool {
        former.is_none_or(|former| {
            let rough = |progress: &Self| (progress.version, progress.state(), progress.done);
            rough(self) != rough(former)
                || self.replicas != former.replicas
                || self.percent() / 10 != former.percent() / 10
        })
    }
}

/// Where progress is shown: bars at a terminal, lines elsewhere.
#[derive(Debug)]
pub(super) struct Board {
    json: bool,
    told: BTreeMap<u32, Progress>,
    bars: Option<(MultiProgress, BTreeMap<u32, ProgressBar>)>,
}

impl Board {
    /// A board for people, or for programs.
    pub(super) fn new(json: bool) -> Self {
        let people = !json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bars = people.then(|| (MultiProgress::new(), BTreeMap::new()));
        Self { json, told: BTreeMap::new(), bars }
    }

    /// Shows how far a partition is, if that is news.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) fn show(&mut self, progress: Progress, output: &mut Output) -> std::io::Result<()> {
        if let Some((all, bars)) = &mut self.bars {
            let bar = bars.entry(progress.partition).or_insert_with(|| all.add(bar(&progress)));
            bar.set_length(progress.to_copy);
            bar.set_position(progress.copied);
            bar.set_message(progress.state());
            if progress.done {
                bar.finish_and_clear();
                return all.suspend(|| tell(&progress, output));
            }
            return Ok(());
        }
        if !progress.is_news(self.told.get(&progress.partition)) {
            return Ok(());
        }
        match self.json {
            true => output.json(&progress)?,
            false => tell(&progress, output)?,
        }
        self.told.insert(progress.partition, progress);
        output.flush()
    }
}

fn bar(progress: &Progress) -> ProgressBar {
    let template = "{prefix} {bar:24} {pos}/{len} records {percent}% {per_sec} {msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(progress.to_copy)
        .with_style(style)
        .with_prefix(format!("partition {}", progress.partition))
}

fn tell(progress: &Progress, output: &mut Output) -> std::io::Result<()> {
    let Progress { partition, version, replicas, copied, to_copy, records_per_second, .. } =
        progress;
    let nodes = replicas.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let state = progress.state();
    let copy = match (progress.done, to_copy) {
        (true, _) | (_, 0) => String::new(),
        _ => format!(
            "; {copied} of {to_copy} records copied ({}%, {records_per_second}/s)",
            progress.percent()
        ),
    };
    output
        .line(format_args!("partition {partition}: v{version} on nodes {nodes}: {state}{copy}"))?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use waltz_client::{NodeId, PartitionId};
    use waltz_core::id::{Member, StorageId};

    use super::*;

    fn member(node: u32) -> Member {
        Member { node: NodeId(node), storage: StorageId(node.into()) }
    }

    fn replica(node: u32, last: Option<u64>, state: &str) -> ReplicaLine {
        ReplicaLine {
            node,
            disk: Some(MemberLine::from(member(node)).disk),
            counts: state == "joined",
            state: state.to_owned(),
            last,
            lag: 0,
            damaged: 0,
            low_water: None,
        }
    }

    /// Transactions 100 to 299; nodes 1 to 3 have them, 4 is to replace 3 and has them up to `last`.
    fn progress(last: u64, members: &[u32]) -> Progress {
        let line = PartitionLine {
            partition: 0,
            owner: Some(1),
            generation: 1,
            session: None,
            open: true,
            hwm: Some(299),
            start: Some(99),
            version: 2,
            members: members.iter().map(|node| member(*node).into()).collect(),
            target: None,
            replicas: vec![
                replica(1, Some(299), "joined"),
                replica(2, Some(299), "joined"),
                replica(3, Some(299), "joined"),
                replica(4, Some(last), "learner, copying"),
            ],
            consumers: Vec::new(),
        };
        let planned = Move {
            partition: PartitionId(0),
            from: [1, 2, 3].map(member).into(),
            to: [1, 2, 4].map(member).into(),
        };
        Progress::of(&planned, &line, &line.members, Duration::from_secs(10))
    }

    #[test]
    fn what_was_copied_is_counted_from_the_start_of_the_log() {
        let half = progress(199, &[1, 2, 3]);
        assert_eq!((half.copied, half.to_copy, half.percent()), (100, 200, 50));
        assert_eq!((half.records_per_second, half.done), (10, false));
        assert_eq!(half.state(), "node 4 is learner, copying");
        assert!(progress(299, &[1, 2, 4]).done);
    }

    #[test]
    fn a_tenth_more_is_news_and_a_record_is_none() {
        let (now, soon, later) = (199, 200, 219);
        let former = progress(now, &[1, 2, 3]);
        assert!(!progress(soon, &[1, 2, 3]).is_news(Some(&former)));
        assert!(progress(later, &[1, 2, 3]).is_news(Some(&former)));
        assert!(progress(now, &[1, 2, 3, 4]).is_news(Some(&former)));
        assert!(former.is_news(None));
    }
}
