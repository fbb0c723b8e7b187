//! Which log a new session continues: the one rule that keeps committed transactions.

use std::collections::BTreeMap;

use crate::id::{Mark, NodeId, ReplicaSet, SessionId};
use crate::planted::{Planted, PlantedBug};
use crate::wire::LogSummary;

/// One replica's answer to `Open`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vote {
    /// The last session it joined.
    pub(super) normal: Option<SessionId>,
    /// Its log.
    pub(super) log: LogSummary,
    /// What it knows to be committed.
    pub(super) low_water: Mark,
    /// The replica set in its log.
    pub(super) replicas: ReplicaSet,
}

/// What the votes say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Choice {
    /// Too few have answered.
    Undecided,
    /// Continue this replica's log.
    Log(NodeId),
    /// A replica knows to be committed what the greatest log lacks: the peers can't all be
    /// telling the truth, and nothing may be cut.
    Contradiction {
        /// Whose low-water mark is beyond the greatest log's agreement with it.
        witness: NodeId,
        /// Whose log is the greatest.
        greatest: NodeId,
    },
}

/// Chooses the log with the greatest (normal session, last id) over every answer. The choice
/// stands when a majority of the replica set in that log has answered; it then holds every
/// committed transaction.
pub(super) fn choose(votes: &BTreeMap<NodeId, Vote>, planted: Planted) -> Choice {
    // Among equals the lowest node, so that the choice does not depend on who answered first.
    let greatest = votes
        .iter()
        .rev()
        .max_by_key(|(_, vote)| (vote.normal, vote.log.last))
        .map(|(n, v)| (*n, v));
    let Some((greatest, best)) = greatest else {
        return Choice::Undecided;
    };
    let answered = best.replicas.nodes().filter(|node| votes.contains_key(node)).count();
    if answered < quorum(&best.replicas, planted) {
        return Choice::Undecided;
    }
    let witness = votes.iter().find(|(_, vote)| vote.low_water > best.log.common(&vote.log));
    match witness {
        Some((witness, _)) => Choice::Contradiction { witness: *witness, greatest },
        None => Choice::Log(greatest),
    }
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
    use crate::id::{Epoch, Member, StorageId, TransactionId};

    fn session(epoch: u64) -> SessionId {
        SessionId { epoch: Epoch(epoch), server: NodeId(1), nonce: epoch }
    }

    fn vote(normal: u64, sessions: &[(u64, u64)], last: u64, low_water: u64) -> Vote {
        let members = (1..=3).map(|n| Member { node: NodeId(n), storage: StorageId(n.into()) });
        Vote {
            normal: (normal > 0).then(|| session(normal)),
            log: LogSummary {
                sessions: sessions
                    .iter()
                    .map(|(e, id)| (session(*e), TransactionId(*id)))
                    .collect(),
                last: Mark::before(TransactionId(last)),
            },
            low_water: Mark::before(TransactionId(low_water)),
            replicas: ReplicaSet(members.collect()),
        }
    }

    fn outcome(votes: &[(u32, Vote)]) -> Choice {
        let votes = votes.iter().map(|(node, vote)| (NodeId(*node), vote.clone())).collect();
        choose(&votes, Planted::NONE)
    }

    #[test]
    fn one_of_three_is_not_enough() {
        assert_eq!(outcome(&[(1, vote(1, &[(1, 0)], 5, 5))]), Choice::Undecided);
    }

    #[test]
    fn a_later_session_beats_a_longer_log() {
        let short = vote(2, &[(1, 0), (2, 3)], 4, 3);
        let long = vote(1, &[(1, 0)], 9, 3);
        assert_eq!(outcome(&[(1, long), (2, short)]), Choice::Log(NodeId(2)));
    }

    #[test]
    fn within_a_session_the_longer_log_wins_and_a_tie_goes_to_the_lowest_node() {
        let (short, long) = (vote(1, &[(1, 0)], 4, 0), vote(1, &[(1, 0)], 5, 0));
        assert_eq!(outcome(&[(1, short), (3, long.clone())]), Choice::Log(NodeId(3)));
        assert_eq!(outcome(&[(2, long.clone()), (3, long)]), Choice::Log(NodeId(2)));
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
}
