//! Reads: of the storage so many at a time, and so many of the archive beside them, so that one that
//! does not answer holds up nobody else. Feeds and calls take turns, each first come first served.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Mark, TransactionId};
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

/// Who has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Keeper {
    /// Replicas.
    Storage,
    /// The archive, as the record was trimmed.
    Archive,
}

impl Keeper {
    const ARCHIVED: u64 = 1 << 63;

    /// Who has a record of a log that starts after this mark.
    pub(super) fn of(id: TransactionId, start: Mark) -> Self {
        if start.includes(id) { Self::Archive } else { Self::Storage }
    }

    /// Who was asked under this number.
    pub(super) fn asked(request: u64) -> Self {
        if request & Self::ARCHIVED == 0 { Self::Storage } else { Self::Archive }
    }

    /// The number of its `n`-th read.
    fn request(self, n: u64) -> u64 {
        match self {
            Self::Storage => n,
            Self::Archive => n | Self::ARCHIVED,
        }
    }
}

/// The reads of one keeper that wait for their turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    keeper: Keeper,
    most: usize,
    under_way: usize,
    last: u64,
    feeds: VecDeque<ClientId>,
    fetches: VecDeque<Fetch>,
}

impl Lane {
    fn new(keeper: Keeper, most: usize) -> Self {
        let (feeds, fetches) = (VecDeque::new(), VecDeque::new());
        Self { keeper, most, under_way: 0, last: 0, feeds, fetches }
    }

    fn begin(&mut self) -> Option<(u64, Purpose)> {
        if self.under_way >= self.most {
            return None;
        }
        let prefers_feeds = self.last.is_multiple_of(2) || self.fetches.is_empty();
        let feed = if prefers_feeds { self.feeds.pop_front() } else { None };
        let purpose = match feed {
            Some(client) => Purpose::Feed(client),
            None => Purpose::Fetch(self.fetches.pop_front()?),
        };
        self.last += 1;
        self.under_way += 1;
        Some((self.keeper.request(self.last), purpose))
    }
}

/// The reads that are under way and those that wait for their turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reads {
    storage: Lane,
    archive: Lane,
    under_way: BTreeMap<u64, Purpose>,
}

impl Reads {
    pub(super) fn new(most: usize, most_archived: usize) -> Self {
        Self {
            storage: Lane::new(Keeper::Storage, most),
            archive: Lane::new(Keeper::Archive, most_archived),
            under_way: BTreeMap::new(),
        }
    }

    /// A feed waits for its turn.
    pub(super) fn add_feed(&mut self, client: ClientId, keeper: Keeper) {
        self.lane(keeper).feeds.push_back(client);
    }

    /// A call waits for its turn.
    pub(super) fn add_fetch(&mut self, fetch: Fetch, keeper: Keeper) {
        self.lane(keeper).fetches.push_back(fetch);
    }

    /// How many calls wait for their turn.
    pub(super) fn waiting_fetches(&self) -> usize {
        self.storage.fetches.len() + self.archive.fetches.len()
    }

    /// The next one whose turn it is, with its number.
    pub(super) fn begin(&mut self) -> Option<(u64, Purpose)> {
        let (request, purpose) = self.storage.begin().or_else(|| self.archive.begin())?;
        self.under_way.insert(request, purpose);
        Some((request, purpose))
    }

    /// For whom a read under way is.
    pub(super) fn purpose(&mut self, request: u64) -> Option<&mut Purpose> {
        self.under_way.get_mut(&request)
    }

    /// Ends a read.
    pub(super) fn end(&mut self, request: u64) -> Option<Purpose> {
        let purpose = self.under_way.remove(&request)?;
        self.lane(Keeper::asked(request)).under_way -= 1;
        Some(purpose)
    }

    /// Has those that wait for the storage wait for the archive, if that is who has what they want.
    pub(super) fn trimmed(
        &mut self,
        start: Mark,
        next: impl Fn(ClientId) -> Option<TransactionId>,
    ) {
        let is_trimmed = |id| Keeper::of(id, start) == Keeper::Archive;
        let (feeds, fetches) = (&mut self.storage.feeds, &mut self.storage.fetches);
        let (trimmed, kept): (VecDeque<_>, _) =
            feeds.drain(..).partition(|client| next(*client).is_some_and(is_trimmed));
        *feeds = kept;
        self.archive.feeds.extend(trimmed);
        let (trimmed, kept): (VecDeque<_>, _) =
            fetches.drain(..).partition(|fetch| is_trimmed(fetch.id));
        *fetches = kept;
        self.archive.fetches.extend(trimmed);
    }

    /// Gives up the turn of a client's feed.
    pub(super) fn cancel_feed(&mut self, client: ClientId) {
        for lane in [&mut self.storage, &mut self.archive] {
            lane.feeds.retain(|waiting| *waiting != client);
        }
    }

    /// Forgets the calls of a closed connection.
    pub(super) fn remove_connection(&mut self, conn: ConnectionId) {
        for lane in [&mut self.storage, &mut self.archive] {
            lane.fetches.retain(|fetch| fetch.conn != conn);
        }
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
        under_way
            .chain(self.storage.fetches.iter().copied())
            .chain(self.archive.fetches.iter().copied())
    }

    fn lane(&mut self, keeper: Keeper) -> &mut Lane {
        match keeper {
            Keeper::Storage => &mut self.storage,
            Keeper::Archive => &mut self.archive,
        }
    }
}
