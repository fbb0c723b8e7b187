//! What an instance asks of its client, each operation written into the history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madsim::time::{sleep, timeout};
use tokio::sync::oneshot;
use waltz_client::{
    AppendError, Client, ClientConfig, Conflict, Mark, Outcome, PartitionId, Partitions,
    SubmitOptions,
};
use waltz_core::io::Address;
use waltz_runtime_sim::SimWorld;

use super::app::{App, Callbacks, State};
use super::questions::Questions;
use super::submitted::Submitted;
use super::succession::{Living, Succession};
use super::wish::{Numbers, Patience, Wish};
use crate::operations::{Ending, Met, Operations, Reading};

#[derive(Debug, Default)]
struct Narrowed {
    times: AtomicU64,
    now: AtomicU64,
}

/// One application instance on a host of its own; clones share it.
pub(crate) struct Instance<S> {
    world: SimWorld,
    host: Address,
    config: ClientConfig,
    app: Arc<App<S>>,
    operations: Operations,
    numbers: Numbers,
    clients: Succession,
    questions: Questions,
    /// How often some partitions were left out, and how many wait to be mounted again: a flush
    /// does not wait for what is not mounted.
    narrowed: Arc<Narrowed>,
    /// One restart at a time: another one would end it halfway.
    restarting: Arc<tokio::sync::Mutex<()>>,
}

impl<S> Clone for Instance<S> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            host: self.host.clone(),
            config: self.config.clone(),
            app: self.app.clone(),
            operations: self.operations.clone(),
            numbers: self.numbers.clone(),
            clients: self.clients.clone(),
            questions: self.questions.clone(),
            narrowed: self.narrowed.clone(),
            restarting: self.restarting.clone(),
        }
    }
}

/// Starts a process on a host that connects a client and does nothing else.
pub(super) async fn start_client<S: State>(
    world: &SimWorld,
    host: &Address,
    config: ClientConfig,
    app: &Arc<App<S>>,
) -> Client {
    let (sender, receiver) = oneshot::channel();
    let callbacks = Callbacks(app.clone());
    drop(world.start(host, move |host| async move {
        let client = Client::connect_on(host.runtime(), config, callbacks).await;
        // Nobody waits any more if the process was started anew meanwhile.
        let _ = sender.send(client.expect("nobody gives up"));
        std::future::pending::<()>().await;
    }));
    receiver.await.expect("only its owner restarts a client's process")
}

impl<S: State> Instance<S> {
    pub(crate) async fn start(
        world: &SimWorld,
        (host, config): (Address, ClientConfig),
        app: Arc<App<S>>,
        (operations, numbers): (Operations, Numbers),
    ) -> Self {
        let client = start_client(world, &host, config.clone(), &app).await;
        let clients = Succession::new(Living { client, life: operations.live() });
        let questions = Questions::start(operations.clone(), clients.clone());
        let world = world.clone();
        let (narrowed, restarting) = Default::default();
        Self {
            world,
            host,
            config,
            app,
            operations,
            numbers,
            clients,
            questions,
            narrowed,
            restarting,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.clients.now().client
    }

    pub(crate) fn app(&self) -> &Arc<App<S>> {
        &self.app
    }

    pub(crate) fn host(&self) -> &Address {
        &self.host
    }

    /// Ends the client's process and starts it again, with what it has applied: asked to close
    /// first, or killed.
    pub(crate) async fn restart(&self, politely: bool) {
        let _guard = self.restarting.lock().await;
        if politely {
            self.client().close().await;
        } else {
            self.operations.kill(self.clients.now().life);
        }
        let client = start_client(&self.world, &self.host, self.config.clone(), &self.app).await;
        self.clients.succeed(Living { client, life: self.operations.live() });
    }

    /// Mounts only some partitions for a while, then all of them again.
    pub(crate) async fn narrow(&self, some: Partitions, pause: Duration) {
        self.narrowed.times.fetch_add(1, Ordering::Relaxed);
        self.narrowed.now.fetch_add(1, Ordering::Relaxed);
        // A client that was closed meanwhile mounts nothing, and that is fine.
        drop(self.client().set_partitions(some).await);
        sleep(pause).await;
        drop(self.client().set_partitions(Partitions::All).await);
        self.narrowed.now.fetch_sub(1, Ordering::Relaxed);
    }

    /// Submits a context that computes its wish from what was applied, as often as it takes;
    /// `None` declines. What is withdrawn is in doubt for the caller, whatever its context is told.
    pub(crate) async fn submit(
        &self,
        partition: PartitionId,
        patience: Patience,
        compute: impl Fn(&S) -> Option<Wish> + Send + Sync + 'static,
    ) -> Ending {
        let number = self.numbers.next();
        let Living { client, life } = self.clients.now();
        self.operations.begin(number, partition, life);
        let context = Submitted {
            number,
            partition,
            app: self.app.clone(),
            operations: self.operations.clone(),
            questions: self.questions.clone(),
            compute,
            computed_at: Mark::NONE,
        };
        let mut options = SubmitOptions::default();
        if let Patience::Until(time) = patience {
            options = options.timeout(time);
        }
        let submission = client.submit_with(context, options);
        let ending = match await_for(patience, submission).await {
            Some(Outcome::Committed(id)) => Ending::Committed(id),
            Some(Outcome::Ignored) => Ending::Never("ignored".to_owned()),
            Some(Outcome::Failed(error)) => Ending::Never(error.to_string()),
            Some(Outcome::InDoubt(_)) => Ending::InDoubt,
            Some(Outcome::Abandoned) | None => return Ending::InDoubt,
        };
        self.operations.hears(number, &ending);
        ending
    }

    /// Appends a wish once, computed at what is applied now.
    pub(crate) async fn append(
        &self,
        partition: PartitionId,
        patience: Patience,
        compute: impl FnOnce(&S) -> Wish,
    ) -> Ending {
        // The mark first: the state may be newer, which is safe.
        let computed_at = self.app.mark(partition);
        let wish = self.app.with(partition, compute);
        self.append_at((partition, computed_at), patience, wish).await
    }

    /// Appends a wish once that was computed at this mark.
    pub(crate) async fn append_at(
        &self,
        (partition, computed_at): (PartitionId, Mark),
        patience: Patience,
        wish: Wish,
    ) -> Ending {
        let number = self.numbers.next();
        let Living { client, life } = self.clients.now();
        self.operations.begin(number, partition, life);
        let data = wish.data(number);
        self.operations.sends(number, &data);
        let mut request = wish.request(data, computed_at);
        if let Patience::Until(time) = patience {
            request = request.timeout(time);
        }
        let ending = match await_for(patience, client.append(partition, request)).await {
            Some(Ok(id)) => Ending::Committed(id),
            Some(Err(AppendError::Abandoned)) => return Ending::InDoubt,
            Some(Err(AppendError::InDoubt(in_doubt))) => {
                self.operations.end(number, Ending::InDoubt);
                self.questions.ask(number, in_doubt);
                return Ending::InDoubt;
            }
            Some(Err(error)) => {
                if let AppendError::Conflict { id, lock, exact } = error {
                    let conflict = Conflict { id, lock, exact };
                    self.operations.meets(Met { partition, computed_at, conflict });
                }
                Ending::Never(error.to_string())
            }
            // It may have been sent, and nobody is told.
            None => Ending::InDoubt,
        };
        self.operations.end(number, ending.clone());
        ending
    }

    /// Waits until it is known what became of everything that ended in doubt, or that it can't be.
    pub(crate) async fn settle(&self) {
        self.questions.settle().await;
    }

    /// Flushes, and notes how far every partition was applied then. Says what went wrong.
    pub(crate) async fn flush(&self, partitions: u32) -> Result<(), String> {
        let (client, invoked) = (self.client(), self.operations.now());
        let before = self.narrowed.times.load(Ordering::Relaxed);
        let whole = self.narrowed.now.load(Ordering::Relaxed) == 0;
        client.flush().await.map_err(|error| error.to_string())?;
        if !whole || before != self.narrowed.times.load(Ordering::Relaxed) {
            return Ok(());
        }
        for partition in (0..partitions).map(PartitionId) {
            if let Some(mark) = client.high_water_mark(partition) {
                self.operations.reads(Reading { partition, invoked, mark });
            }
        }
        Ok(())
    }
}

/// Waits for the end; `None` when it was withdrawn before.
async fn await_for<F: IntoFuture>(patience: Patience, handle: F) -> Option<F::Output> {
    match patience {
        Patience::Withdrawn(time) => timeout(time, handle.into_future()).await.ok(),
        Patience::Endless | Patience::Until(_) => Some(handle.await),
    }
}
