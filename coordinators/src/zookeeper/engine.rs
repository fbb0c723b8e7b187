//! A session with a member of ZooKeeper.

use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use waltz_core::coordinator::{Key, LeaseId};
use waltz_core::wire::{FromCoordinator, ToCoordinator};
use zookeeper_client::{EventType, PersistentWatcher, WatchedEvent};

use super::calls::{Calls, Fault, Written};
use super::envelope::{Content, Entry, Envelope};
use super::leases::Leases;
use super::place::{LeaseName, Spot};
use super::sets::{Set, Verdict, Write};
use super::view::{Current, Moment, View};
use crate::session::{Call, Engine};

/// A connection that serves a node.
#[derive(Debug)]
pub(crate) struct Opened {
    calls: Calls,
    watcher: PersistentWatcher,
    /// The leases that are alive.
    leases: Vec<LeaseName>,
}

impl Opened {
    pub(super) async fn open(calls: Calls) -> Result<Self, String> {
        // What changes while it is read is told afterwards.
        let watcher = calls.watch().await.map_err(Fault::text)?;
        let leases = calls.leases().await.map_err(Fault::text)?;
        Ok(Self { calls, watcher, leases })
    }
}

pub(super) struct ZooKeeperSession<'a> {
    calls: Calls,
    watcher: PersistentWatcher,
    view: View,
    leases: &'a mut Leases,
    /// Keys that changed and are read.
    reads: FuturesUnordered<Call<Found>>,
}

/// A key that was read.
pub(super) struct Found {
    key: Key,
    entry: Option<Entry>,
    asked_at: Moment,
}

/// Why a key is read.
enum Purpose {
    Get { request: u64 },
    Set(Set),
}

/// What a call came to.
pub(super) struct Outcome(Step);

enum Step {
    Alive(LeaseId),
    Released,
    Read(Purpose, Found),
    /// `None`: a znode was not as expected.
    Wrote(Set, Envelope, Moment, Option<Written>),
    Loaded {
        prefix: Key,
        found: Vec<(Key, Entry)>,
        asked_at: Moment,
    },
}

/// What comes without being asked for.
pub(super) enum News {
    Event(WatchedEvent),
    Found(Found),
}

impl<'a> ZooKeeperSession<'a> {
    pub(super) fn new(opened: Opened, leases: &'a mut Leases) -> Self {
        let Opened { calls, watcher, leases: alive } = opened;
        Self { calls, watcher, view: View::new(alive), leases, reads: FuturesUnordered::new() }
    }

    /// Takes in everything that the member told before its last answer.
    fn catch_up(&mut self, told: &mut Vec<FromCoordinator>) -> Result<(), String> {
        while let Some(event) = self.watcher.changed().now_or_never() {
            self.on_event(&event, told)?;
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        event: &WatchedEvent,
        told: &mut Vec<FromCoordinator>,
    ) -> Result<(), String> {
        if event.event_type == EventType::Session {
            let (member, state) = (self.calls.member(), event.session_state);
            return Err(format!("ZooKeeper at {member}: the connection is lost ({state})"));
        }
        match self.calls.place().spot(&event.path) {
            Some(Spot::Key(key)) => {
                let is_to_be_read = self.view.on_changed(&key);
                self.reads.extend(is_to_be_read.then(|| self.read(key)));
            }
            Some(Spot::Lease(name)) if event.event_type == EventType::NodeDeleted => {
                self.view.on_lease_gone(name, told);
            }
            Some(Spot::Lease(name)) => self.view.on_lease(name),
            None => {}
        }
        Ok(())
    }

    /// Reads a key that changed.
    fn read(&self, key: Key) -> Call<Found> {
        let (calls, asked_at) = (self.calls.clone(), self.view.now());
        Box::pin(async move {
            let entry = calls.read(&key).await.map_err(Fault::text)?;
            Ok(Found { key, entry, asked_at })
        })
    }

    /// Reads a key for a request.
    fn read_for(&self, purpose: Purpose, key: Key) -> Call<Outcome> {
        let (calls, asked_at) = (self.calls.clone(), self.view.now());
        Box::pin(async move {
            let entry = calls.read_latest(&key).await.map_err(Fault::text)?;
            Ok(Outcome(Step::Read(purpose, Found { key, entry, asked_at })))
        })
    }

    fn load(&self, prefix: Key) -> Call<Outcome> {
        let (calls, asked_at) = (self.calls.clone(), self.view.now());
        Box::pin(async move {
            let found = calls.load(&prefix).await.map_err(Fault::text)?;
            Ok(Outcome(Step::Loaded { prefix, found, asked_at }))
        })
    }

    fn write(&self, set: Set, write: Write) -> Call<Outcome> {
        let (calls, asked_at) = (self.calls.clone(), self.view.now());
        Box::pin(async move {
            let Write { version, envelope, alive } = write;
            let written = match calls.write(&set.key, &envelope, version, &alive).await {
                Ok(written) => Some(written),
                Err(Fault::Missing | Fault::Unexpected) => None,
                Err(Fault::Broken(reason)) => return Err(reason),
            };
            Ok(Outcome(Step::Wrote(set, envelope, asked_at, written)))
        })
    }

    /// Begins a compare-and-set by what is known of its key. What does not fit may be old.
    fn begin_set(&self, set: Set) -> Call<Outcome> {
        let own = set.lease().and_then(|lease| self.leases.name(lease));
        let (entry, asked_at) = self.view.entry(&set.key);
        match set.judge(&self.view, entry, asked_at, own) {
            Verdict::Write(write) => self.write(set, write),
            Verdict::Read | Verdict::Answer(_) => {
                let key = set.key.clone();
                self.read_for(Purpose::Set(set), key)
            }
        }
    }

    /// Goes on with a request whose key was read for it.
    fn on_read(
        &mut self,
        purpose: Purpose,
        found: Found,
        told: &mut Vec<FromCoordinator>,
    ) -> Option<Call<Outcome>> {
        let Found { key, entry, asked_at } = found;
        if let Some(entry) = &entry {
            self.view.learn(&key, entry.clone(), asked_at, told);
        }
        match purpose {
            Purpose::Get { request } => {
                match self.view.current(&key, entry.as_ref(), asked_at) {
                    Current::Unclear => return Some(self.read_for(Purpose::Get { request }, key)),
                    Current::Is(current) => told.push(FromCoordinator::Value { request, current }),
                }
                None
            }
            Purpose::Set(set) => match set.judge(&self.view, entry.as_ref(), asked_at, None) {
                Verdict::Write(write) => Some(self.write(set, write)),
                Verdict::Read => Some(self.read_for(Purpose::Set(set), key)),
                Verdict::Answer(answer) => {
                    told.push(answer);
                    None
                }
            },
        }
    }
}

impl Engine for ZooKeeperSession<'_> {
    type Outcome = Outcome;
    type News = News;

    fn begin(&mut self, request: ToCoordinator) -> Call<Outcome> {
        match request {
            ToCoordinator::KeepAlive { lease, ttl_ms } => {
                let kept = self.leases.keep_alive(lease, Duration::from_millis(ttl_ms.into()));
                Box::pin(async move { kept.await.map(|()| Outcome(Step::Alive(lease))) })
            }
            ToCoordinator::Release { lease } => {
                self.leases.let_go(lease);
                let calls = self.calls.clone();
                Box::pin(async move {
                    calls.end(lease).await.map_err(Fault::text)?;
                    Ok(Outcome(Step::Released))
                })
            }
            ToCoordinator::CompareAndSet { request, key, expected, value, lease } => {
                let value = value.map(|value| (value, lease));
                self.begin_set(Set { request, key, expected, value })
            }
            ToCoordinator::Get { request, key } => self.read_for(Purpose::Get { request }, key),
            ToCoordinator::Watch { prefix } => self.load(prefix),
        }
    }

    fn go_on(
        &mut self,
        Outcome(step): Outcome,
        told: &mut Vec<FromCoordinator>,
    ) -> Result<Option<Call<Outcome>>, String> {
        self.catch_up(told)?;
        Ok(match step {
            Step::Alive(lease) => {
                told.push(FromCoordinator::Alive { lease });
                None
            }
            Step::Released => None,
            Step::Read(purpose, found) => self.on_read(purpose, found, told),
            Step::Wrote(set, envelope, asked_at, Some(Written { revision, version })) => {
                let content = Content::Envelope(envelope);
                let entry = Entry { revision, version, content };
                self.view.learn(&set.key, entry, asked_at, told);
                told.push(FromCoordinator::Set { request: set.request, revision });
                None
            }
            Step::Wrote(set, _, _, None) => {
                let key = set.key.clone();
                Some(self.read_for(Purpose::Set(set), key))
            }
            Step::Loaded { prefix, found, asked_at } => {
                for (key, entry) in found {
                    self.view.learn(&key, entry, asked_at, told);
                }
                match self.view.watch(&prefix) {
                    Some(entries) => {
                        told.push(FromCoordinator::Snapshot { prefix, entries });
                        None
                    }
                    None => Some(self.load(prefix)),
                }
            }
        })
    }

    async fn news(&mut self) -> Result<News, String> {
        tokio::select! {
            biased;
            event = self.watcher.changed() => Ok(News::Event(event)),
            Some(found) = self.reads.next(), if !self.reads.is_empty() => found.map(News::Found),
        }
    }

    fn hear(&mut self, news: News, told: &mut Vec<FromCoordinator>) -> Result<(), String> {
        match news {
            News::Event(event) => self.on_event(&event, told)?,
            News::Found(Found { key, entry, asked_at }) => {
                self.catch_up(told)?;
                let is_to_be_read = self.view.on_read(&key, entry, asked_at, told);
                self.reads.extend(is_to_be_read.then(|| self.read(key)));
            }
        }
        Ok(())
    }
}
