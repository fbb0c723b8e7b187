//! What an instance asks of its client, each operation written into the history.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::time::sleep;
use tokio::sync::oneshot;
use waltz_client::{
    AppendError, AppendRequest, CallbackError, Client, ClientConfig, Conflict, LockId, LockKind,
    Mark, Outcome, PartitionId, Partitions, TransactionBuilder, TransactionContext,
};
use waltz_core::io::Address;
use waltz_runtime_sim::SimWorld;

use super::app::{App, Callbacks, State};
use crate::operations::{Ending, Met, Number, Operations, Reading};

/// What an operation wants in the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) header: u32,
    pub(crate) locks: Vec<(LockKind, LockId)>,
    pub(crate) body: Vec<u8>,
}

impl Wish {
    pub(crate) fn lock(mut self, kind: LockKind, name: &str, number: u64) -> Self {
        self.locks.push((kind, LockId::new(name, number)));
        self
    }

    /// The data: the operation's number, then the body.
    fn data(&self, number: Number) -> Vec<u8> {
        [&number.0.to_le_bytes(), &self.body[..]].concat()
    }
}

/// Numbers operations across all instances.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> Number {
        Number(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

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
    client: Arc<Mutex<Client>>,
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
            client: self.client.clone(),
            narrowed: self.narrowed.clone(),
            restarting: self.restarting.clone(),
        }
    }
}

/// Starts a process on a host that connects a client and does nothing else.
async fn start_client<S: State>(
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
        let (world, client) = (world.clone(), Arc::new(Mutex::new(client)));
        let (narrowed, restarting) = Default::default();
        Self { world, host, config, app, operations, numbers, client, narrowed, restarting }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        }
        let client = start_client(&self.world, &self.host, self.config.clone(), &self.app).await;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
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
    /// `None` declines.
    pub(crate) async fn submit(
        &self,
        partition: PartitionId,
        compute: impl Fn(&S) -> Option<Wish> + Send + Sync + 'static,
    ) -> Ending {
        let number = self.numbers.next();
        self.operations.begin(number, partition);
        let context = Context {
            number,
            partition,
            app: self.app.clone(),
            operations: self.operations.clone(),
            compute,
            computed_at: Mark::NONE,
        };
        let ending = match self.client().submit(context).await {
            Outcome::Committed(id) => Ending::Committed(id),
            Outcome::Ignored => Ending::Never("ignored".to_owned()),
            Outcome::Failed(error) => Ending::Never(error.to_string()),
            Outcome::InDoubt(_) | Outcome::Abandoned => Ending::InDoubt,
        };
        self.operations.end(number, ending.clone());
        ending
    }

    /// Appends a wish once, computed at what is applied now; gives up after `timeout`, if there is
    /// one.
    pub(crate) async fn append(
        &self,
        partition: PartitionId,
        timeout: Option<Duration>,
        compute: impl FnOnce(&S) -> Wish,
    ) -> Ending {
        // The mark first: the state may be newer, which is safe.
        let computed_at = self.app.mark(partition);
        let wish = self.app.with(partition, compute);
        self.append_at((partition, computed_at), timeout, wish).await
    }

    /// Appends a wish once that was computed at this mark.
    pub(crate) async fn append_at(
        &self,
        (partition, computed_at): (PartitionId, Mark),
        timeout: Option<Duration>,
        wish: Wish,
    ) -> Ending {
        let number = self.numbers.next();
        self.operations.begin(number, partition);
        let data = wish.data(number);
        self.operations.sends(number, &data);
        let mut request = AppendRequest::new(data).header(wish.header).at(computed_at);
        for (kind, lock) in wish.locks {
            request = match kind {
                LockKind::Write => request.write_lock(lock),
                LockKind::Read => request.read_lock(lock),
                LockKind::Append => request.append_lock(lock),
            };
        }
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let ending = match self.client().append(partition, request).await {
            Ok(id) => Ending::Committed(id),
            Err(AppendError::InDoubt(_) | AppendError::Abandoned) => Ending::InDoubt,
            Err(error) => {
                if let AppendError::Conflict { id, lock, exact } = error {
                    let conflict = Conflict { id, lock, exact };
                    self.operations.meets(Met { partition, computed_at, conflict });
                }
                Ending::Never(error.to_string())
            }
        };
        self.operations.end(number, ending.clone());
        ending
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

/// A submitted operation.
struct Context<S, F> {
    number: Number,
    partition: PartitionId,
    app: Arc<App<S>>,
    operations: Operations,
    compute: F,
    computed_at: Mark,
}

impl<S: State, F: Fn(&S) -> Option<Wish> + Send + Sync + 'static> TransactionContext
    for Context<S, F>
{
    fn partition(&self, _: u32) -> PartitionId {
        self.partition
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.computed_at = builder.high_water_mark();
        let Some(wish) = self.app.with(self.partition, &self.compute) else { return Ok(false) };
        let data = wish.data(self.number);
        self.operations.sends(self.number, &data);
        builder.header(wish.header).data_bytes(data);
        for (kind, lock) in wish.locks {
            match kind {
                LockKind::Write => builder.write_lock(lock),
                LockKind::Read => builder.read_lock(lock),
                LockKind::Append => builder.append_lock(lock),
            };
        }
        Ok(true)
    }

    fn on_lock_failure(&mut self, conflict: &Conflict) {
        let (partition, computed_at) = (self.partition, self.computed_at);
        self.operations.meets(Met { partition, computed_at, conflict: *conflict });
    }
}
