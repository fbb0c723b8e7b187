//! Reads of the storage: so many at a time. Feeds and calls take turns, each first come first
//! served.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, TransactionId};
use crate::io::ConnectionId;

/// For whom a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// The feed of this client's mount. One that has ended meanwhile no longer knows the request.
    Feed(ClientId),
    /// A call for one record.
    Fetch(Fetch),
    /// Nobody any more; it is waited for all the same, so that the bound holds.
    Nobody,
}

/// A call for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fetch {
    pub(super) conn: ConnectionId,
    pub(super) call: u64,
    pub(super) id: TransactionId,
}

/// The reads that are under way and those that wait for their turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reads {
    most: usize,
    last: u64,
    under_way: BTreeMap<u64, Purpose>,
    feeds: VecDeque<ClientId>,
    fetches: VecDeque<Fetch>,
}

impl Reads {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            last: 0,
            under_way: BTreeMap::new(),
            feeds: VecDeque::new(),
            fetches: VecDeque::new(),
        }
    }

    /// A feed waits for its turn.
    pub(super) fn add_feed(&mut self, client: ClientId) {
        self.feeds.push_back(client);
    }

    /// A call waits for its turn.
    pub(super) fn add_fetch(&mut self, fetch: Fetch) {
        self.fetches.push_back(fetch);
    }

    /// How many calls wait for their turn.
    pub(super) fn waiting_fetches(&self) -> usize {
        self.fetches.len()
    }

    /// The next one whose turn it is, with its number.
    pub(super) fn begin(&mut self) -> Option<(u64, Purpose)> {
        if self.under_way.len() >= self.most {
            return None;
        }
        let prefers_feeds = self.last.is_multiple_of(2) || self.fetches.is_empty();
        let feed = if prefers_feeds { self.feeds.pop_front() } else { None };
        let purpose = match feed {
            Some(client) => Purpose::Feed(client),
            None => Purpose::Fetch(self.fetches.pop_front()?),
        };
        self.last += 1;
        self.under_way.insert(self.last, purpose);
        Some((self.last, purpose))
    }

    /// For whom a read under way is.
    pub(super) fn purpose(&mut self, request: u64) -> Option<&mut Purpose> {
        self.under_way.get_mut(&request)
    }

    /// Ends a read.
    pub(super) fn end(&mut self, request: u64) -> Option<Purpose> {
        self.under_way.remove(&request)
    }

    /// Gives up the turn of a client's feed.
    pub(super) fn cancel_feed(&mut self, client: ClientId) {
        self.feeds.retain(|waiting| *waiting != client);
    }

    /// Forgets the calls of a closed connection.
    pub(super) fn remove_connection(&mut self, conn: ConnectionId) {
        self.fetches.retain(|fetch| fetch.conn != conn);
        for purpose in self.under_way.values_mut() {
            if matches!(purpose, Purpose::Fetch(fetch) if fetch.conn == conn) {
                *purpose = Purpose::Nobody;
            }
        }
    }

    /// Every call that has no answer.
    pub(super) fn fetches(&self) -> impl Iterator<Item = Fetch> + '_ {
        let under_way = self.under_way.values().filter_map(|purpose| match purpose {
            Purpose::Fetch(fetch) => Some(*fetch),
            Purpose::Feed(_) | Purpose::Nobody => None,
        });
        under_way.chain(self.fetches.iter().copied())
    }
}
