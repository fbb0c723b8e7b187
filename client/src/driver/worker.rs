//! One partition's application code: where its database stands, and applying what is committed.
//!
//! For each committed context the order is: `on_completion(true)`, the transaction is applied,
//! the high-water mark moves, `on_application`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tracing::Span;
use waltz_core::client::Attachment;
use waltz_core::id::{Mark, PartitionId, TransactionId};
use waltz_core::record::Run;
use waltz_core::time::Time;
use waltz_runtime::Timer;

use super::{Event, in_words};
use crate::call::{AnyContext, Appended, Permit, Shared, Submitted, tell};
use crate::callbacks::ClientCallbacks;
use crate::error::{FeedError, Outcome};
use crate::telemetry::{Count, Telemetry};
use crate::transaction::{Loader, Transaction};

pub(crate) enum Work {
    Begin {
        attachment: Attachment,
    },
    Apply {
        attachment: Attachment,
        runs: Vec<Run>,
        owned: Vec<(TransactionId, Owned)>,
    },
    /// The feed has ended for good.
    End(FeedError),
    Detach,
}

/// A call of this client whose transaction is committed.
pub(crate) enum Owned {
    Context { submitted: Submitted, since: Time },
    Append { append: Appended, since: Time },
}

/// A committed call whose transaction is not applied yet.
struct Committed {
    id: TransactionId,
    /// When it was called.
    since: Time,
    /// The call's span.
    span: Span,
    context: Option<Box<dyn AnyContext>>,
    /// Whether the commit was traced, and told to the context.
    completed: bool,
    waiter: Option<Waiter>,
}

enum Waiter {
    Submission(oneshot::Sender<Outcome>, Permit),
    Append(Appended),
}

pub(crate) struct Worker<C, T: Timer> {
    partition: PartitionId,
    callbacks: Arc<C>,
    shared: Arc<Shared>,
    loader: Option<Loader>,
    events: UnboundedSender<Event>,
    /// Ascending by id.
    committed: VecDeque<Committed>,
    batch: Vec<Transaction>,
    timer: T,
}

impl<C: ClientCallbacks, T: Timer> Worker<C, T> {
    pub(crate) fn new(
        partition: PartitionId,
        callbacks: Arc<C>,
        shared: Arc<Shared>,
        loader: Option<Loader>,
        events: UnboundedSender<Event>,
        timer: T,
    ) -> Self {
        let (committed, batch) = (VecDeque::new(), Vec::new());
        Self { partition, callbacks, shared, loader, events, committed, batch, timer }
    }

    pub(crate) async fn run(mut self, mut works: UnboundedReceiver<Work>) {
        let _guard = PanicGuard { partition: self.partition, events: self.events.clone() };
        while let Some(work) = works.recv().await {
            match work {
                Work::Begin { attachment } => self.begin(attachment).await,
                Work::Apply { attachment, runs, owned } => {
                    self.committed.extend(owned.into_iter().map(Committed::new));
                    self.apply(attachment, &runs).await;
                }
                Work::End(error) => self.callbacks.on_feed_end(self.partition, &error),
                Work::Detach => self.detach(),
            }
        }
        self.detach();
    }

    async fn begin(&mut self, attachment: Attachment) {
        let start = self.callbacks.start(self.partition).await;
        self.tell(Event::Began { attachment, start: start.map_err(|error| in_words(&error)) });
    }

    async fn apply(&mut self, attachment: Attachment, runs: &[Run]) {
        self.batch.clear();
        for run in runs {
            Transaction::of_run(run, self.loader.as_ref(), &mut self.batch);
        }
        let (Some(first), Some(last)) = (self.batch.first(), self.batch.last()) else { return };
        let (first, last) = (first.id(), last.id().mark());
        for committed in self.committed.iter_mut().take_while(|one| last.includes(one.id)) {
            committed.complete();
        }
        let began = self.timer.now();
        let (applied, result) = self.callbacks.apply_batch(&self.batch).await;
        let ended = self.timer.now();
        let applied = match result {
            Ok(()) => self.batch.len(),
            Err(_) => applied.min(self.batch.len() - 1),
        };
        let mark = Mark::before(TransactionId(first.0 + applied as u64));
        self.shared.marks.store(self.partition, mark);
        self.count(applied, result.is_err());
        self.shared.telemetry.applies.record(ended - began);
        self.settle(ended, mark, last);
        if let Err(error) = &result {
            self.callbacks.uncaught_exception(&self.batch[applied], error);
        }
        self.batch.clear();
        self.tell(Event::Applied { attachment, mark, failed: result.is_err() });
    }

    /// Counts what came of the batch.
    fn count(&self, applied: usize, failed: bool) {
        let telemetry = &self.shared.telemetry;
        let bytes: usize = self.batch[..applied].iter().map(Transaction::fed_bytes).sum();
        telemetry.add(Count::AppliedTransactions, applied as u64);
        telemetry.add(Count::AppliedBytes, bytes as u64);
        telemetry.add(Count::ApplyFailures, failed.into());
    }

    /// Ends what is applied. What was given to the application and failed there is reported as
    /// committed all the same; only its `on_application` has to wait.
    fn settle(&mut self, now: Time, applied: Mark, given: Mark) {
        let telemetry = &self.shared.telemetry;
        while let Some(committed) = self.committed.pop_front_if(|one| applied.includes(one.id)) {
            committed.applied(telemetry, now);
        }
        for committed in self.committed.iter_mut().take_while(|one| given.includes(one.id)) {
            committed.measure(telemetry, now);
            committed.report();
        }
    }

    /// What is not applied by now will not be by this client.
    fn detach(&mut self) {
        let now = self.timer.now();
        for mut committed in self.committed.drain(..) {
            committed.complete();
            committed.measure(&self.shared.telemetry, now);
            committed.report();
        }
        self.shared.marks.remove(self.partition);
    }

    fn tell(&self, event: Event) {
        // A driver that is gone wants to know nothing.
        let _ = self.events.send(event);
    }
}

/// Callbacks that panic end the worker; what is committed is told all the same.
impl<C, T: Timer> Drop for Worker<C, T> {
    fn drop(&mut self) {
        // Nothing is measured: the runtime may be going, and its clock with it.
        self.committed.iter_mut().for_each(Committed::report);
    }
}

impl Committed {
    fn new((id, owned): (TransactionId, Owned)) -> Self {
        match owned {
            Owned::Append { append, since } => {
                let (span, waiter) = (append.span.clone(), Some(Waiter::Append(append)));
                Self { id, since, span, context: None, completed: false, waiter }
            }
            Owned::Context { submitted: Submitted { context, done, permit, span }, since } => {
                let waiter = Some(Waiter::Submission(done, permit));
                Self { id, since, span, context: Some(context), completed: false, waiter }
            }
        }
    }

    fn complete(&mut self) {
        if std::mem::replace(&mut self.completed, true) {
            return;
        }
        let _entered = self.span.enter();
        tracing::debug!(id = %self.id, "committed");
        if let Some(context) = &mut self.context {
            tell(context.as_mut(), |context| context.on_completion(true));
        }
    }

    fn applied(mut self, telemetry: &Telemetry, now: Time) {
        {
            let _entered = self.span.enter();
            tracing::debug!(id = %self.id, "applied");
            if let Some(context) = &mut self.context {
                tell(context.as_mut(), |context| context.on_application());
            }
        }
        self.measure(telemetry, now);
        self.report();
    }

    /// How long it took until now, when it is about to be reported.
    fn measure(&self, telemetry: &Telemetry, now: Time) {
        match &self.waiter {
            Some(Waiter::Append(_)) => telemetry.appends.record(now - self.since),
            Some(Waiter::Submission(..)) => telemetry.submissions.record(now - self.since),
            None => {}
        }
    }

    fn report(&mut self) {
        match self.waiter.take() {
            Some(Waiter::Append(append)) => append.end(Ok(self.id)),
            Some(Waiter::Submission(done, permit)) => {
                drop(permit);
                // A dropped submission wants no outcome.
                let _ = done.send(Outcome::Committed(self.id));
            }
            None => {}
        }
    }
}

/// Tells the driver when the callbacks panic: what they had applied by then is not known, so
/// the client can't go on.
struct PanicGuard {
    partition: PartitionId,
    events: UnboundedSender<Event>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.events.send(Event::CallbacksPanicked { partition: self.partition });
        }
    }
}
