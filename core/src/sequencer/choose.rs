//! Which log a new session continues: the one rule that keeps committed transactions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{
    IdRange, Mark, Member, NodeId, Position, ReplicaSet, SessionId, StorageId, TransactionId,
};
use crate::log::{LogSummary, SetChange};
use crate::planted::{Planted, PlantedBug};
use crate::wire::MAX_RANGES;

/// One replica's answer to `Open`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Vote {
    /// The disk that promised.
    pub(super) storage: StorageId,
    /// The last session it joined.
    pub(super) normal: Option<SessionId>,
    /// Its log, records that it can't read included.
    pub(super) log: LogSummary,
    /// What it knows to be committed.
    pub(super) low_water: Mark,
    /// What it can't read.
    pub(super) damaged: Vec<IdRange>,
}

impl Vote {
    /// The last of the records from `id` on that this replica can read and that are `log`'s, if
    /// `id` itself is one of them.
    fn readable(&self, log: &LogSummary, id: TransactionId) -> Option<TransactionId> {
        let shared = log.common(&self.log)?.last;
        if !shared.includes(id) || self.log.start.includes(id) {
            return None;
        }
        let after = self.damaged.partition_point(|range| range.last < id);
        match self.damaged.get(after) {
            Some(range) if range.first <= id => None,
            Some(range) => Some(shared.min(Mark::before(range.first)).id()?),
            // There may be more than it could name.
            None if self.damaged.len() >= MAX_RANGES => None,
            None => shared.id(),
        }
    }
}

/// All answers.
pub(super) type Votes = BTreeMap<NodeId, Vote>;

/// Who can't vote, and up to where it may give records.
pub(super) type Suspects = BTreeMap<NodeId, Mark>;

/// What the votes say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Choice {
    /// Too few have answered; these may have to.
    Undecided {
        /// The replicas of the greatest log's set.
        ask: ReplicaSet,
    },
    /// A record that may be committed can't be read by any replica that has answered.
    Waiting {
        /// The record.
        id: TransactionId,
    },
    /// Continue this log.
    Log {
        /// The replica whose log it is.
        source: NodeId,
        /// The log, without what is damaged and can't have been committed.
        log: LogSummary,
    },
    /// A replica knows to be committed what the greatest log lacks: the peers can't all be
    /// telling the truth, and nothing may be cut.
    Contradiction {
        /// Whose low-water mark is beyond the greatest log's agreement with it.
        witness: NodeId,
        /// Whose log is the greatest.
        greatest: NodeId,
    },
}

/// Chooses the log with the greatest (normal session, end) over every answer. The choice stands
/// when a majority of the replica set in that log has answered; it then holds every committed
/// transaction.
///
/// What anyone has trimmed was committed and is wanted no more: the log starts after it. What
/// follows an unreadable record is left out if too few others can have held the
/// record for it to be committed, in any replica set that it was counted against; otherwise a
/// replica that can read it has to come.
pub(super) fn choose(
    votes: &Votes,
    suspects: &Suspects,
    hint: &ReplicaSet,
    planted: Planted,
) -> Choice {
    // Among equals the lowest node, so that the choice does not depend on who answered first.
    let greatness = |vote: &Vote| match planted.has(PlantedBug::ChooseByLength) {
        true => (None, vote.log.position()),
        false => (vote.normal, vote.log.position()),
    };
    let greatest = votes.iter().rev().max_by_key(|(_, vote)| greatness(vote));
    let Some((&source, best)) = greatest else {
        return Choice::Undecided { ask: hint.clone() };
    };
    let mut log = best.log.clone();
    loop {
        let set = match planted.has(PlantedBug::TrustStaleSet) {
            true => hint.clone(),
            false => log.set().replicas.clone(),
        };
        let answered = set.0.iter().filter(|member| has_voted(votes, member)).count();
        if answered < quorum(&set, planted) {
            return Choice::Undecided { ask: set };
        }
        let agreed = |vote: &Vote| best.log.common(&vote.log).map_or(best.log.start, |at| at.last);
        let witness = votes.iter().find(|(_, vote)| vote.low_water > agreed(vote));
        if let Some((&witness, _)) = witness {
            return Choice::Contradiction { witness, greatest: source };
        }
        trim(&mut log, votes);
        let Some(id) = first_unreadable(votes, suspects, best, &log) else {
            return Choice::Log { source, log };
        };
        let known = votes.values().any(|vote| vote.low_water.includes(id));
        let may_have = |member: &&Member| {
            let vote = votes.get(&member.node).filter(|vote| vote.storage == member.storage);
            vote.is_none_or(|vote| agreed(vote).includes(id))
        };
        let may_have_committed = |set: &SetChange| {
            set.replicas.0.iter().filter(may_have).count() >= quorum(&set.replicas, planted)
        };
        // Whoever committed it counted the set of its place in the log, or a later one.
        let later = log.sets.partition_point(|set| !set.at.includes(id));
        if known || log.sets[later.saturating_sub(1)..].iter().any(may_have_committed) {
            return Choice::Waiting { id };
        }
        log = before(&log, id);
    }
}

/// For an operator's recovery over the replicas at hand: the greatest log, as far as it can be
/// read, however few have answered.
pub(super) fn choose_by_force(votes: &Votes, suspects: &Suspects) -> Option<(NodeId, LogSummary)> {
    let greatest = votes.iter().rev().max_by_key(|(_, vote)| (vote.normal, vote.log.position()));
    let (source, best) = greatest?;
    let mut log = best.log.clone();
    trim(&mut log, votes);
    if let Some(id) = first_unreadable(votes, suspects, best, &log) {
        log = before(&log, id);
    }
    Some((*source, log))
}

fn has_voted(votes: &Votes, member: &Member) -> bool {
    votes.get(&member.node).is_some_and(|vote| vote.storage == member.storage)
}

/// The first record of `log`, which is `best`'s, that nobody who has answered can read. A suspect
/// is taken at its word: if it can't after all, the session ends.
fn first_unreadable(
    votes: &Votes,
    suspects: &Suspects,
    best: &Vote,
    log: &LogSummary,
) -> Option<TransactionId> {
    let given = suspects.values().max().and_then(|last| last.id());
    for range in &best.damaged {
        let mut id = range.first.max(log.start.next());
        while range.contains(id) && log.last.includes(id) {
            let reach = votes.values().filter_map(|vote| vote.readable(log, id)).max();
            match reach.max(given.filter(|last| *last >= id)) {
                Some(last) => id = last.next(),
                None => return Some(id),
            }
        }
    }
    let last = best.damaged.last().map(|range| range.last.next());
    last.filter(|id| best.damaged.len() >= MAX_RANGES && log.last.includes(*id))
}

/// Forgets what any replica has trimmed.
fn trim(log: &mut LogSummary, votes: &Votes) {
    let starts = votes.values().map(|vote| vote.log.start);
    let start = starts.filter(|start| *start <= log.last).max();
    log.trim(start.unwrap_or(log.start));
}

/// The log up to right before a record.
fn before(log: &LogSummary, id: TransactionId) -> LogSummary {
    let (mut log, last) = (log.clone(), Mark::before(id));
    let set = log.sets.iter().rev().find(|set| set.at <= last);
    let version = set.expect("a log's first set is at its start").version;
    log.cut(Position { last, version });
    log
}

/// How many replicas of a set decide.
pub(super) fn quorum(replicas: &ReplicaSet, planted: Planted) -> usize {
    if planted.has(PlantedBug::QuorumMinusOne) {
        return (replicas.quorum() - 1).max(1);
    }
    replicas.quorum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, SetVersion};

    fn session(epoch: u64) -> SessionId {
        SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: epoch }
    }

    fn members(nodes: &[u32]) -> ReplicaSet {
        let member = |n: &u32| Member { node: NodeId(*n), storage: StorageId(u64::from(*n)) };
        ReplicaSet(nodes.iter().map(member).collect())
    }

    fn mark(count: u64) -> Mark {
        Mark::before(TransactionId(count))
    }

    /// A vote of the sessions (epoch and first id), how many records there are, and how many of
    /// them are known to be committed. Its disk is put in by `votes`.
    fn vote(normal: u64, sessions: &[(u64, u64)], count: u64, low_water: u64) -> Vote {
        let sessions = sessions.iter().map(|(e, id)| (session(*e), TransactionId(*id))).collect();
        let sets = vec![SetChange::initial(SetVersion::FIRST, members(&[1, 2, 3]))];
        Vote {
            storage: StorageId(0),
            normal: (normal > 0).then(|| session(normal)),
            log: LogSummary { start: Mark::NONE, sessions, sets, last: mark(count) },
            low_water: mark(low_water),
            damaged: Vec::new(),
        }
    }

    fn damaged(first: u64, last: u64, vote: Vote) -> Vote {
        let range = IdRange { first: TransactionId(first), last: TransactionId(last) };
        Vote { damaged: vec![range], ..vote }
    }

    /// With one more set, after so many records.
    fn changed(epoch: u64, at: u64, nodes: &[u32], mut vote: Vote) -> Vote {
        let version = vote.log.set().version.next();
        let change = SetChange {
            version,
            session: Some(session(epoch)),
            at: mark(at),
            replicas: members(nodes),
        };
        vote.log.sets.push(change);
        vote
    }

    fn outcome(votes: &[(u32, Vote)]) -> Choice {
        let disk = |node: u32| StorageId(u64::from(node));
        let votes = votes
            .iter()
            .map(|(node, vote)| (NodeId(*node), Vote { storage: disk(*node), ..vote.clone() }));
        choose(&votes.collect(), &Suspects::new(), &members(&[1, 2, 3]), Planted::NONE)
    }

    /// The chosen log's owner and length.
    fn chosen(votes: &[(u32, Vote)]) -> (u32, u64) {
        match outcome(votes) {
            Choice::Log { source, log } => (source.0, log.last.count()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_of_three_is_not_enough() {
        let ask = members(&[1, 2, 3]);
        assert_eq!(outcome(&[(1, vote(1, &[(1, 0)], 5, 5))]), Choice::Undecided { ask });
    }

    #[test]
    fn a_later_session_beats_a_longer_log() {
        let short = vote(2, &[(1, 0), (2, 3)], 4, 3);
        let long = vote(1, &[(1, 0)], 9, 3);
        assert_eq!(chosen(&[(1, long), (2, short)]), (2, 4));
    }

    #[test]
    fn within_a_session_the_longer_log_wins_and_a_tie_goes_to_the_lowest_node() {
        let (short, long) = (vote(1, &[(1, 0)], 4, 0), vote(1, &[(1, 0)], 5, 0));
        assert_eq!(chosen(&[(1, short), (3, long.clone())]), (3, 5));
        assert_eq!(chosen(&[(2, long.clone()), (3, long)]), (2, 5));
    }

    #[test]
    fn a_committed_record_outside_the_greatest_log_is_a_contradiction() {
        let greatest = vote(2, &[(2, 0)], 2, 0);
        let witness = vote(1, &[(1, 0)], 3, 3);
        assert_eq!(
            outcome(&[(1, greatest), (2, witness)]),
            Choice::Contradiction { witness: NodeId(2), greatest: NodeId(1) }
        );
    }

    #[test]
    fn the_newest_set_in_the_greatest_log_counts_committed_or_not() {
        let old = vote(1, &[(1, 0)], 4, 4);
        let new = changed(1, 4, &[1, 2, 3, 4], old.clone());
        let ask = members(&[1, 2, 3, 4]);
        assert_eq!(outcome(&[(1, new.clone()), (2, old.clone())]), Choice::Undecided { ask });
        assert_eq!(chosen(&[(1, new), (2, old.clone()), (3, old)]), (1, 4));
    }

    #[test]
    fn another_disk_of_a_member_does_not_count() {
        let log = vote(1, &[(1, 0)], 4, 4);
        let mut votes: Votes = [(NodeId(1), log.clone()), (NodeId(2), log)].into();
        votes.get_mut(&NodeId(1)).unwrap().storage = StorageId(1);
        let undecided = choose(&votes, &Suspects::new(), &members(&[1, 2, 3]), Planted::NONE);
        assert_eq!(undecided, Choice::Undecided { ask: members(&[1, 2, 3]) });
    }

    #[test]
    fn what_one_replica_cannot_read_another_can() {
        let log = vote(1, &[(1, 0)], 5, 0);
        assert_eq!(chosen(&[(1, damaged(2, 3, log.clone())), (2, log)]), (1, 5));
    }

    #[test]
    fn an_unreadable_record_that_too_few_held_is_left_out() {
        let (long, short) = (damaged(4, 4, vote(1, &[(1, 0)], 6, 0)), vote(1, &[(1, 0)], 4, 0));
        assert_eq!(chosen(&[(1, long), (2, short.clone()), (3, short)]), (1, 4));
    }

    #[test]
    fn an_unreadable_record_that_may_be_committed_is_waited_for() {
        let (long, short) = (damaged(4, 4, vote(1, &[(1, 0)], 6, 0)), vote(1, &[(1, 0)], 4, 0));
        let waiting = Choice::Waiting { id: TransactionId(4) };
        assert_eq!(outcome(&[(1, long.clone()), (2, short.clone())]), waiting);
        let known = Vote { low_water: mark(5), ..long };
        assert_eq!(outcome(&[(1, known), (2, short.clone()), (3, short)]), waiting);
    }

    #[test]
    fn the_set_of_an_unreadable_record_counts_even_if_it_has_changed_since() {
        let long = changed(1, 6, &[2, 3], damaged(4, 4, vote(1, &[(1, 0)], 6, 0)));
        let short = vote(1, &[(1, 0)], 4, 0);
        // 1 and 3 may have committed it before 1 was removed.
        let waiting = Choice::Waiting { id: TransactionId(4) };
        assert_eq!(outcome(&[(2, short.clone()), (3, long.clone())]), waiting);
        assert_eq!(chosen(&[(1, short.clone()), (2, short), (3, long)]), (3, 4));
        // 1 and 3 may have joined a later session, whose log ended with a smaller set.
        let of_five = |mut vote: Vote| {
            vote.log.sets[0].replicas = members(&[1, 2, 3, 4, 5]);
            vote
        };
        let long = changed(1, 6, &[1, 2, 3], damaged(4, 4, of_five(vote(1, &[(1, 0)], 6, 0))));
        let short = of_five(vote(1, &[(1, 0)], 4, 0));
        let votes = [(1, long), (2, short.clone()), (4, short.clone()), (5, short)];
        assert_eq!(outcome(&votes), waiting);
    }
}
