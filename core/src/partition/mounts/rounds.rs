//! Quorum rounds: one at a time, each for all who asked before it began.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::ClientId;
use crate::io::ConnectionId;

/// A call that waits to be told the confirmed mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CurrentCall {
    pub(super) conn: ConnectionId,
    pub(super) call: u64,
}

/// The rounds, and who waits for which.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rounds {
    /// The newest round that was begun; rounds count from 1.
    begun: u64,
    under_way: bool,
    mounts: BTreeSet<(u64, ClientId)>,
    /// Ascending by the round.
    calls: Vec<(u64, CurrentCall)>,
}

impl Rounds {
    /// The first round that has not begun.
    fn next(&self) -> u64 {
        self.begun + 1
    }

    /// A mount waits from now on; the answer is the round it waits for.
    pub(super) fn add_mount(&mut self, client: ClientId) -> u64 {
        self.mounts.insert((self.next(), client));
        self.next()
    }

    /// The mount that waited for this round has ended.
    pub(super) fn remove_mount(&mut self, round: u64, client: ClientId) {
        self.mounts.remove(&(round, client));
    }

    /// A call waits from now on.
    pub(super) fn add_call(&mut self, call: CurrentCall) {
        self.calls.push((self.next(), call));
    }

    /// How many calls wait.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Forgets the calls of a closed connection.
    pub(super) fn remove_connection(&mut self, conn: ConnectionId) {
        self.calls.retain(|(_, call)| call.conn != conn);
    }

    /// Whether a round is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Begins a round if none is under way and someone waits.
    pub(super) fn begin(&mut self) -> Option<u64> {
        if self.under_way || (self.mounts.is_empty() && self.calls.is_empty()) {
            return None;
        }
        self.under_way = true;
        self.begun += 1;
        Some(self.begun)
    }

    /// Ends a round; the answer is who waited for it, unless it is not the one under way.
    pub(super) fn succeeded(&mut self, round: u64) -> Option<(Vec<ClientId>, Vec<CurrentCall>)> {
        if !self.under_way || round != self.begun {
            return None;
        }
        self.under_way = false;
        let later = self.mounts.split_off(&(self.next(), ClientId(0)));
        let mounts = std::mem::replace(&mut self.mounts, later);
        let served = self.calls.partition_point(|(waits_for, _)| *waits_for <= round);
        let calls = self.calls.drain(..served).map(|(_, call)| call).collect();
        Some((mounts.into_iter().map(|(_, client)| client).collect(), calls))
    }

    /// Every call that waits; nobody waits any more.
    pub(super) fn into_calls(self) -> impl Iterator<Item = CurrentCall> {
        self.calls.into_iter().map(|(_, call)| call)
    }
}
