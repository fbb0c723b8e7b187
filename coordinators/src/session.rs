//! A session with an engine: which requests are under way together, and how they are answered.
//!
//! What is asked about one key is done in order, and what is asked about several at once. A watch and
//! the end of a lease wait for everything before them, and everything after them waits for them; so
//! does what follows the first of a lease, as it may be tied to it.

use std::collections::HashSet;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use waltz_core::coordinator::{Key, LeaseId, check_request};
use waltz_core::wire::{FromCoordinator, ToCoordinator};

use crate::desk::{Abandoned, Asked, Desk, Ended};

/// How many requests are under way at once.
const UNDER_WAY: usize = 64;

/// A call to an engine. It fails in bounded time, and the session with it.
pub(crate) type Call<T> = BoxFuture<'static, Result<T, String>>;

/// An engine's side of a session: how requests are made, and what comes of them.
pub(crate) trait Engine: Send {
    /// What a call came to.
    type Outcome: Send + 'static;

    /// What comes without being asked for.
    type News: Send;

    /// The first call of a request.
    fn begin(&mut self, request: ToCoordinator) -> Call<Self::Outcome>;

    /// Takes what a call came to. Its request ends with what is told, unless there is another call.
    ///
    /// # Errors
    /// When the session has to end.
    fn go_on(
        &mut self,
        outcome: Self::Outcome,
        told: &mut Vec<FromCoordinator>,
    ) -> Result<Option<Call<Self::Outcome>>, String>;

    /// Waits for news. Nothing is lost when it is dropped.
    fn news(&mut self) -> impl Future<Output = Result<Self::News, String>> + Send;

    /// Takes news.
    ///
    /// # Errors
    /// When the session has to end.
    fn hear(&mut self, news: Self::News, told: &mut Vec<FromCoordinator>) -> Result<(), String>;
}

/// Serves a desk by an engine until one of them fails.
pub(crate) async fn serve(engine: impl Engine, desk: &mut Desk) -> Ended {
    let session = Session {
        engine,
        under_way: FuturesUnordered::new(),
        busy: HashSet::new(),
        leases: HashSet::new(),
        told: Vec::new(),
    };
    session.serve(desk).await
}

/// A call under way, with the key that is asked about.
type UnderWay<T> = BoxFuture<'static, (Option<Key>, Result<T, String>)>;

struct Session<E: Engine> {
    engine: E,
    under_way: FuturesUnordered<UnderWay<E::Outcome>>,
    /// Keys with a request under way: another one has to wait.
    busy: HashSet<Key>,
    /// Leases that were alive.
    leases: HashSet<LeaseId>,
    /// What is told next; empty between turns.
    told: Vec<FromCoordinator>,
}

impl<E: Engine> Session<E> {
    async fn serve(mut self, desk: &mut Desk) -> Ended {
        loop {
            let turn = tokio::select! {
                biased;
                Some((key, outcome)) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.go_on(desk, key, outcome).await
                }
                news = self.engine.news() => self.hear(desk, news).await,
                asked = desk.next(), if self.under_way.len() < UNDER_WAY => match asked {
                    Ok(Asked::Request(request)) => self.begin(desk, request).await,
                    Ok(Asked::Finish(done)) => self.finish(desk, done).await,
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
        let (key, alone) = match &request {
            ToCoordinator::CompareAndSet { key, .. } | ToCoordinator::Get { key, .. } => {
                let key = key.clone();
                self.reserve(desk, &key).await?;
                (Some(key), false)
            }
            ToCoordinator::KeepAlive { lease, .. } => (None, self.leases.insert(*lease)),
            ToCoordinator::Release { lease } => {
                self.settle(desk).await?;
                self.leases.remove(lease);
                (None, true)
            }
            ToCoordinator::Watch { .. } => {
                self.settle(desk).await?;
                (None, true)
            }
        };
        let call = self.engine.begin(request);
        self.push(key, call);
        if alone { self.settle(desk).await } else { Ok(()) }
    }

    fn push(&mut self, key: Option<Key>, call: Call<E::Outcome>) {
        self.under_way.push(async move { (key, call.await) }.boxed());
    }

    /// Waits until nothing that was asked about a key is under way.
    async fn reserve(&mut self, desk: &Desk, key: &Key) -> Result<(), Ended> {
        while self.busy.contains(key) {
            let Some((key, outcome)) = self.under_way.next().await else { break };
            self.go_on(desk, key, outcome).await?;
        }
        self.busy.insert(key.clone());
        Ok(())
    }

    /// Waits until nothing is under way.
    async fn settle(&mut self, desk: &Desk) -> Result<(), Ended> {
        while let Some((key, outcome)) = self.under_way.next().await {
            self.go_on(desk, key, outcome).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, desk: &Desk, done: oneshot::Sender<()>) -> Result<(), Ended> {
        self.settle(desk).await?;
        // Whoever asked may be gone.
        let _ = done.send(());
        Ok(())
    }

    async fn go_on(
        &mut self,
        desk: &Desk,
        key: Option<Key>,
        outcome: Result<E::Outcome, String>,
    ) -> Result<(), Ended> {
        let outcome = outcome.map_err(Ended::Failed)?;
        match self.engine.go_on(outcome, &mut self.told).map_err(Ended::Failed)? {
            Some(call) => self.push(key, call),
            None => {
                if let Some(key) = key {
                    self.busy.remove(&key);
                }
            }
        }
        self.tell(desk).await
    }

    async fn hear(&mut self, desk: &Desk, news: Result<E::News, String>) -> Result<(), Ended> {
        let news = news.map_err(Ended::Failed)?;
        self.engine.hear(news, &mut self.told).map_err(Ended::Failed)?;
        self.tell(desk).await
    }

    async fn tell(&mut self, desk: &Desk) -> Result<(), Ended> {
        for told in self.told.drain(..) {
            desk.answer(told).await?;
        }
        Ok(())
    }
}
