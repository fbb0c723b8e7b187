//! A session with a member of etcd.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use tonic::{Status, Streaming};
use waltz_core::coordinator::{Key, LeaseId, Revision, Versioned, check_request};
use waltz_core::wire::{FromCoordinator, ToCoordinator};

use super::api;
use super::calls::{Calls, Fault, described};
use super::keys::{Keys, lease_number, revision, revision_number, versioned};
use crate::desk::{Abandoned, Asked, Desk, Ended};
use crate::seen::Seen;

/// How many requests are under way at once.
const UNDER_WAY: usize = 64;

/// What came of a request.
struct Done {
    /// The key that it was about.
    key: Option<Key>,
    /// What it changed.
    change: Option<Change>,
    answer: FromCoordinator,
}

/// A key as it is from a revision on.
struct Change {
    key: Key,
    revision: Revision,
    current: Option<Versioned>,
}

type Work = BoxFuture<'static, Result<Done, String>>;

pub(super) struct Session {
    calls: Calls,
    keys: Keys,
    under_way: FuturesUnordered<Work>,
    /// Keys with a request under way: another one has to wait.
    busy: HashSet<Key>,
    /// Leases that were alive.
    leases: HashSet<LeaseId>,
    watch: Option<Streaming<api::WatchResponse>>,
    /// Prefixes that are watched, each with the revision of its snapshot.
    watched: Vec<(Key, Revision)>,
    seen: Seen,
}

impl Session {
    pub(super) fn new(calls: Calls, keys: Keys) -> Self {
        Self {
            calls,
            keys,
            under_way: FuturesUnordered::new(),
            busy: HashSet::new(),
            leases: HashSet::new(),
            watch: None,
            watched: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub(super) async fn serve(mut self, desk: &mut Desk) -> Ended {
        loop {
            let turn = tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.finish(desk, done).await
                }
                events = next_events(&mut self.watch) => self.pass_on(desk, events).await,
                asked = desk.next(), if self.under_way.len() < UNDER_WAY => match asked {
                    Ok(Asked::Request(request)) => self.begin(desk, request).await,
                    Ok(Asked::Finish(done)) => self.finish_all(desk, done).await,
                    Err(Abandoned) => Err(Ended::Abandoned),
                },
            };
            if let Err(ended) = turn {
                return ended;
            }
        }
    }

    async fn begin(&mut self, desk: &Desk, request: ToCoordinator) -> Result<(), Ended> {
        if let Err(reason) = check_request(&request) {
            let request = match request {
                ToCoordinator::CompareAndSet { request, .. } => Some(request),
                _ => None,
            };
            return Ok(desk.answer(FromCoordinator::Refused { request, reason }).await?);
        }
        match request {
            ToCoordinator::KeepAlive { lease, ttl_ms } => {
                let work = keep_alive(self.calls.clone(), lease, ttl_ms);
                if self.leases.insert(lease) {
                    // What is asked next may be tied to it.
                    let done = work.await;
                    return self.finish(desk, done).await;
                }
                self.under_way.push(Box::pin(work));
            }
            ToCoordinator::Release { lease } => {
                self.settle(desk).await?;
                self.calls.revoke(lease_number(lease)).await.map_err(failed)?;
                self.leases.remove(&lease);
            }
            ToCoordinator::CompareAndSet { request, key, expected, value, lease } => {
                self.reserve(desk, &key).await?;
                let keys = (self.keys.bytes(&key), key);
                let work = compare_and_set(
                    self.calls.clone(),
                    (request, keys, expected),
                    value.map(|value| (value, lease)),
                );
                self.under_way.push(Box::pin(work));
            }
            ToCoordinator::Get { request, key } => {
                self.reserve(desk, &key).await?;
                let bytes = self.keys.bytes(&key);
                self.under_way.push(Box::pin(read(self.calls.clone(), request, bytes, key)));
            }
            ToCoordinator::Watch { prefix } => {
                self.settle(desk).await?;
                self.start_watch(desk, prefix).await?;
            }
        }
        Ok(())
    }

    /// Waits until nothing that was asked about a key is under way.
    async fn reserve(&mut self, desk: &Desk, key: &Key) -> Result<(), Ended> {
        while self.busy.contains(key) {
            let Some(done) = self.under_way.next().await else { break };
            self.finish(desk, done).await?;
        }
        self.busy.insert(key.clone());
        Ok(())
    }

    /// Waits until nothing is under way.
    async fn settle(&mut self, desk: &Desk) -> Result<(), Ended> {
        while let Some(done) = self.under_way.next().await {
            self.finish(desk, done).await?;
        }
        Ok(())
    }

    async fn finish_all(&mut self, desk: &Desk, done: oneshot::Sender<()>) -> Result<(), Ended> {
        self.settle(desk).await?;
        // Whoever asked may be gone.
        let _ = done.send(());
        Ok(())
    }

    /// Tells what came of a request: whoever watches is told of the change before its answer.
    async fn finish(&mut self, desk: &Desk, done: Result<Done, String>) -> Result<(), Ended> {
        let Done { key, change, answer } = done.map_err(Ended::Failed)?;
        if let Some(key) = key {
            self.busy.remove(&key);
        }
        if let Some(change) = change {
            self.tell(desk, change).await?;
        }
        Ok(desk.answer(answer).await?)
    }

    async fn start_watch(&mut self, desk: &Desk, prefix: Key) -> Result<(), Ended> {
        let range = self.calls.range(self.keys.range(&prefix)).await.map_err(failed)?;
        let at = range.header.as_ref().map_or(0, |header| header.revision);
        if self.watch.is_none() {
            let api::RangeRequest { key, range_end } = self.keys.range("");
            let create = api::WatchCreateRequest { key, range_end, start_revision: at + 1 };
            self.watch = Some(self.calls.watch(create).await.map_err(failed)?);
        }
        let mut entries = Vec::with_capacity(range.kvs.len());
        for kv in range.kvs {
            if let Some(key) = self.keys.key(&kv.key) {
                let versioned = versioned(kv);
                self.seen.is_news(&key, versioned.revision);
                entries.push((key, versioned));
            }
        }
        self.watched.retain(|(other, _)| *other != prefix);
        self.watched.push((prefix.clone(), revision(at)));
        Ok(desk.answer(FromCoordinator::Snapshot { prefix, entries }).await?)
    }

    async fn pass_on(
        &mut self,
        desk: &Desk,
        events: Result<api::WatchResponse, String>,
    ) -> Result<(), Ended> {
        let response = events.map_err(Ended::Failed)?;
        if response.canceled {
            let reason = format!("etcd ended the watch: {}", response.cancel_reason);
            return Err(Ended::Failed(reason));
        }
        for event in response.events {
            let Some(kv) = event.kv else { continue };
            let Some(key) = self.keys.key(&kv.key) else { continue };
            let revision = revision(kv.mod_revision);
            let current = (event.kind != api::DELETE).then(|| versioned(kv));
            self.tell(desk, Change { key, revision, current }).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, desk: &Desk, change: Change) -> Result<(), Abandoned> {
        let Change { key, revision, current } = change;
        let is_watched =
            self.watched.iter().any(|(prefix, since)| *since < revision && key.starts_with(prefix));
        if is_watched && self.seen.is_news(&key, revision) {
            desk.answer(FromCoordinator::Changed { key, current }).await?;
        }
        Ok(())
    }
}

fn failed(fault: Fault) -> Ended {
    Ended::Failed(fault.text())
}

/// What the watch says next; without one, nothing.
async fn next_events(
    watch: &mut Option<Streaming<api::WatchResponse>>,
) -> Result<api::WatchResponse, String> {
    let Some(watch) = watch else { return std::future::pending().await };
    match watch.message().await {
        Ok(Some(events)) => Ok(events),
        Ok(None) => Err("etcd ended the watch".to_owned()),
        Err(status) => Err(ended_by(&status)),
    }
}

fn ended_by(status: &Status) -> String {
    format!("the watch failed: {}", described(status))
}

async fn keep_alive(calls: Calls, lease: LeaseId, ttl_ms: u32) -> Result<Done, String> {
    let ttl = i64::from(ttl_ms.div_ceil(1000).max(1));
    calls.keep_alive(lease_number(lease), ttl).await.map_err(Fault::text)?;
    Ok(Done { key: None, change: None, answer: FromCoordinator::Alive { lease } })
}

async fn read(calls: Calls, request: u64, bytes: bytes::Bytes, key: Key) -> Result<Done, String> {
    let range = api::RangeRequest { key: bytes, range_end: bytes::Bytes::new() };
    let found = calls.range(range).await.map_err(Fault::text)?;
    let current = found.kvs.into_iter().next().map(versioned);
    Ok(Done { key: Some(key), change: None, answer: FromCoordinator::Value { request, current } })
}

async fn compare_and_set(
    calls: Calls,
    (request, (bytes, key), expected): (u64, (bytes::Bytes, Key), Option<Revision>),
    value: Option<(bytes::Bytes, Option<LeaseId>)>,
) -> Result<Done, String> {
    let operation = match value.clone() {
        Some((value, lease)) => {
            let lease = lease.map_or(0, lease_number);
            api::Operation::Put(api::PutRequest { key: bytes.clone(), value, lease })
        }
        None => api::Operation::DeleteRange(api::DeleteRangeRequest { key: bytes.clone() }),
    };
    let read = api::RangeRequest { key: bytes.clone(), range_end: bytes::Bytes::new() };
    let txn = api::TxnRequest {
        compare: vec![api::Compare {
            result: api::EQUAL,
            target: api::MOD_REVISION,
            key: bytes.clone(),
            to: Some(api::CompareTo::ModRevision(revision_number(expected))),
        }],
        success: vec![api::RequestOp { operation: Some(operation) }],
        failure: vec![api::RequestOp { operation: Some(api::Operation::Range(read.clone())) }],
    };
    let answered = match calls.txn(txn).await {
        Ok(answered) => answered,
        Err(Fault::NoLease) => {
            let found = calls.range(read).await.map_err(Fault::text)?;
            let current = found.kvs.into_iter().next().map(versioned);
            let answer = FromCoordinator::Conflict { request, current };
            return Ok(Done { key: Some(key), change: None, answer });
        }
        Err(fault) => return Err(fault.text()),
    };
    if !answered.succeeded {
        let found = answered.responses.into_iter().find_map(|response| response.range);
        let current = found.and_then(|found| found.kvs.into_iter().next()).map(versioned);
        let answer = FromCoordinator::Conflict { request, current };
        return Ok(Done { key: Some(key), change: None, answer });
    }
    let header = answered.header.ok_or("etcd named no revision")?;
    let revision = revision(header.revision);
    let changed = expected.is_some() || value.is_some();
    let current = value.map(|(value, lease)| Versioned { revision, value, lease });
    let change = changed.then(|| Change { key: key.clone(), revision, current });
    Ok(Done { key: Some(key), change, answer: FromCoordinator::Set { request, revision } })
}
