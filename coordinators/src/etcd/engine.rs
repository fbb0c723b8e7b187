//! A session with a member of etcd.

use tonic::{Status, Streaming};
use waltz_core::coordinator::{Key, Revision, Versioned};
use waltz_core::wire::{FromCoordinator, ToCoordinator};

use super::api;
use super::calls::{Calls, Fault};
use super::channel::described;
use super::keys::{Keys, lease_number, revision, versioned};
use super::requests::{Change, Done, SetRequest, compare_and_set, keep_alive, read};
use crate::seen::Seen;
use crate::session::{Call, Engine};

pub(super) struct EtcdSession {
    calls: Calls,
    keys: Keys,
    watch: Option<Streaming<api::WatchResponse>>,
    /// Prefixes that are watched, each with the revision of its snapshot.
    watched: Vec<(Key, Revision)>,
    seen: Seen,
}

/// What a call came to.
pub(super) enum Outcome {
    Done(Done),
    /// A lease has ended.
    Released,
    Watching {
        prefix: Key,
        found: api::RangeResponse,
        /// The first watch of a session watches everything.
        watch: Option<Streaming<api::WatchResponse>>,
    },
}

impl EtcdSession {
    pub(super) fn new(calls: Calls, keys: Keys) -> Self {
        Self { calls, keys, watch: None, watched: Vec::new(), seen: Seen::default() }
    }

    fn start_watch(&self, prefix: Key) -> Call<Outcome> {
        let (calls, is_first) = (self.calls.clone(), self.watch.is_none());
        let (range, everything) = (self.keys.range(&prefix), self.keys.range(""));
        Box::pin(async move {
            let found = calls.range(range).await.map_err(Fault::text)?;
            let watch = if is_first {
                let api::RangeRequest { key, range_end } = everything;
                let start_revision = revision_of(&found) + 1;
                let create = api::WatchCreateRequest { key, range_end, start_revision };
                Some(calls.watch(create).await.map_err(Fault::text)?)
            } else {
                None
            };
            Ok(Outcome::Watching { prefix, found, watch })
        })
    }

    /// Tells what there is under a prefix when its watch begins.
    fn snapshot(&mut self, prefix: Key, found: api::RangeResponse) -> FromCoordinator {
        let at = revision(revision_of(&found));
        let mut entries = Vec::with_capacity(found.kvs.len());
        for kv in found.kvs {
            if let Some(key) = self.keys.key(&kv.key) {
                let versioned = versioned(kv);
                self.seen.is_news(&key, versioned.revision);
                entries.push((key, versioned));
            }
        }
        self.watched.retain(|(other, _)| *other != prefix);
        self.watched.push((prefix.clone(), at));
        FromCoordinator::Snapshot { prefix, entries }
    }

    fn tell(&mut self, change: Change, told: &mut Vec<FromCoordinator>) {
        let Change { key, revision, current } = change;
        let is_watched =
            self.watched.iter().any(|(prefix, since)| *since < revision && key.starts_with(prefix));
        if is_watched && self.seen.is_news(&key, revision) {
            told.push(FromCoordinator::Changed { key, current });
        }
    }
}

impl Engine for EtcdSession {
    type Outcome = Outcome;
    type News = api::WatchResponse;

    fn begin(&mut self, request: ToCoordinator) -> Call<Outcome> {
        let calls = self.calls.clone();
        match request {
            ToCoordinator::KeepAlive { lease, ttl_ms } => {
                done(async move { keep_alive(&calls, lease, ttl_ms).await })
            }
            ToCoordinator::Release { lease } => Box::pin(async move {
                calls.revoke(lease_number(lease)).await.map_err(Fault::text)?;
                Ok(Outcome::Released)
            }),
            ToCoordinator::CompareAndSet { request, key, expected, value, lease } => {
                let value = value.map(|value| (value, lease));
                let bytes = self.keys.bytes(&key);
                let set = SetRequest { request, key, bytes, expected, value };
                done(async move { compare_and_set(&calls, set).await })
            }
            ToCoordinator::Get { request, key } => {
                let bytes = self.keys.bytes(&key);
                done(async move { read(&calls, request, bytes).await })
            }
            ToCoordinator::Watch { prefix } => self.start_watch(prefix),
        }
    }

    /// Whoever watches is told of a change before its answer.
    fn go_on(
        &mut self,
        outcome: Outcome,
        told: &mut Vec<FromCoordinator>,
    ) -> Result<Option<Call<Outcome>>, String> {
        match outcome {
            Outcome::Done(Done { change, answer }) => {
                if let Some(change) = change {
                    self.tell(change, told);
                }
                told.push(answer);
            }
            Outcome::Released => {}
            Outcome::Watching { prefix, found, watch } => {
                if watch.is_some() {
                    self.watch = watch;
                }
                told.push(self.snapshot(prefix, found));
            }
        }
        Ok(None)
    }

    /// What the watch says; without one, nothing.
    async fn news(&mut self) -> Result<api::WatchResponse, String> {
        let Some(watch) = &mut self.watch else { return std::future::pending().await };
        match watch.message().await {
            Ok(Some(events)) => Ok(events),
            Ok(None) => Err("etcd ended the watch".to_owned()),
            Err(status) => Err(ended_by(&status)),
        }
    }

    fn hear(
        &mut self,
        response: api::WatchResponse,
        told: &mut Vec<FromCoordinator>,
    ) -> Result<(), String> {
        if response.canceled {
            return Err(format!("etcd ended the watch: {}", response.cancel_reason));
        }
        for event in response.events {
            let Some(kv) = event.kv else { continue };
            let Some(key) = self.keys.key(&kv.key) else { continue };
            let revision = revision(kv.mod_revision);
            let current: Option<Versioned> = (event.kind != api::DELETE).then(|| versioned(kv));
            self.tell(Change { key, revision, current }, told);
        }
        Ok(())
    }
}

fn done(call: impl Future<Output = Result<Done, String>> + Send + 'static) -> Call<Outcome> {
    Box::pin(async move { Ok(Outcome::Done(call.await?)) })
}

/// The revision that a range was read at.
fn revision_of(found: &api::RangeResponse) -> i64 {
    found.header.as_ref().map_or(0, |header| header.revision)
}

fn ended_by(status: &Status) -> String {
    format!("the watch failed: {}", described(status))
}
