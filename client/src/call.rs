//! What handles ask of the driver, and what they share with it.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::Span;
use waltz_core::client::{
    Answer, CallId, Conflict, Draft, InDoubt, Partitions, Patience, Unanswered,
};
use waltz_core::id::{Mark, NodeId, PartitionId, TransactionId};
use waltz_core::wire::OperatorRequest;

use crate::context::{TransactionBuilder, TransactionContext};
use crate::error::{AppendError, CallbackError, FetchError, Outcome, SubmitError};
use crate::feed::Begun;
use crate::telemetry::Telemetry;

/// A call of a handle.
pub(crate) enum Call {
    Submit {
        call: CallId,
        partition: PartitionId,
        patience: Patience,
        submission: Submitted,
    },
    Append {
        call: CallId,
        partition: PartitionId,
        draft: Draft,
        at: Option<Mark>,
        patience: Patience,
        append: Appended,
    },
    /// The handle of a call was dropped.
    Cancel {
        call: CallId,
    },
    /// A feed with a machine of its own.
    Feed(Begun),
    Ask {
        question: Question,
        done: oneshot::Sender<Result<Answer, Unanswered>>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
}

/// A submitted context, and who waits for it.
pub(crate) struct Submitted {
    pub(crate) context: Box<dyn AnyContext>,
    pub(crate) done: oneshot::Sender<Outcome>,
    pub(crate) permit: Permit,
    pub(crate) span: Span,
}

/// An append's waiter.
pub(crate) struct Appended {
    pub(crate) done: oneshot::Sender<Result<TransactionId, AppendError>>,
    pub(crate) permit: Permit,
    pub(crate) span: Span,
}

impl Appended {
    /// Its transaction is in the log.
    pub(crate) fn trace_commit(&self, id: TransactionId) {
        self.span.in_scope(|| tracing::debug!(%id, "committed"));
    }

    /// Gives the room back, then tells the waiter.
    pub(crate) fn end(self, result: Result<TransactionId, AppendError>) {
        let Self { done, permit, span } = self;
        span.in_scope(|| match &result {
            Ok(_) => {}
            Err(AppendError::InDoubt(in_doubt)) => tracing::debug!(%in_doubt, "in doubt"),
            Err(error) => tracing::debug!(%error, "failed"),
        });
        drop(permit);
        // A dropped append wants no result.
        let _ = done.send(result);
    }
}

pub(crate) enum Question {
    Flush,
    /// What became of an attempt, if this client can tell.
    Resolve(InDoubt),
    /// What became of an attempt of whatever client, by a machine that asks nothing else.
    Seek(InDoubt),
    Fetch {
        partition: PartitionId,
        id: TransactionId,
    },
    Describe {
        formed: bool,
    },
    Status {
        node: Option<NodeId>,
    },
    Inspect {
        node: Option<NodeId>,
    },
    Operate(OperatorRequest),
    Choose(Partitions),
}

/// Asks the driver; a driver that is gone counts as closed.
pub(crate) async fn ask(
    calls: &mpsc::UnboundedSender<Call>,
    question: Question,
) -> Result<Answer, Unanswered> {
    let (done, answer) = oneshot::channel();
    calls.send(Call::Ask { question, done }).map_err(|_| Unanswered::Closed)?;
    answer.await.unwrap_or(Err(Unanswered::Closed))
}

/// Fetches a whole record.
pub(crate) async fn fetch(
    calls: &mpsc::UnboundedSender<Call>,
    partition: PartitionId,
    id: TransactionId,
) -> Result<Bytes, FetchError> {
    match ask(calls, Question::Fetch { partition, id }).await {
        Ok(Answer::Record(record)) => Ok(record),
        Ok(other) => unreachable!("a fetch is answered by a record, not {other:?}"),
        Err(why) => Err(FetchError::new(partition, id, why)),
    }
}

/// A context that computes; it comes back with what came of that.
pub(crate) trait Execution: Future<Output = (Box<dyn AnyContext>, Ran)> + Send {}

impl<F: Future<Output = (Box<dyn AnyContext>, Ran)> + Send> Execution for F {}

/// What an execution came to.
pub(crate) enum Ran {
    Append(Draft),
    Ignored,
    Failed(CallbackError),
}

/// A context without its type.
pub(crate) trait AnyContext: Send {
    /// Computes the context's transaction at a mark.
    fn execute(self: Box<Self>, at: Mark) -> Pin<Box<dyn Execution>>;
    fn on_completion(&mut self, committed: bool);
    fn on_application(&mut self);
    fn on_exception(&mut self, error: &SubmitError);
    fn on_lock_failure(&mut self, conflict: &Conflict);
    fn on_in_doubt(&mut self, in_doubt: &InDoubt);
}

/// Calls a context back. It is told what is so: a panic in it changes nothing, and is only logged.
pub(crate) fn tell(context: &mut dyn AnyContext, what: impl FnOnce(&mut dyn AnyContext)) {
    if catch_unwind(AssertUnwindSafe(|| what(context))).is_err() {
        tracing::error!("a transaction context panicked when it was called back");
    }
}

impl<C: TransactionContext> AnyContext for C {
    fn execute(mut self: Box<Self>, at: Mark) -> Pin<Box<dyn Execution>> {
        Box::pin(async move {
            let mut builder = TransactionBuilder::new(at);
            let ran = match TransactionContext::execute(&mut *self, &mut builder).await {
                Ok(true) => Ran::Append(builder.into_draft()),
                Ok(false) => Ran::Ignored,
                Err(error) => Ran::Failed(error),
            };
            (self as Box<dyn AnyContext>, ran)
        })
    }

    fn on_completion(&mut self, committed: bool) {
        TransactionContext::on_completion(self, committed);
    }

    fn on_application(&mut self) {
        TransactionContext::on_application(self);
    }

    fn on_exception(&mut self, error: &SubmitError) {
        TransactionContext::on_exception(self, error);
    }

    fn on_lock_failure(&mut self, conflict: &Conflict) {
        TransactionContext::on_lock_failure(self, conflict);
    }

    fn on_in_doubt(&mut self, in_doubt: &InDoubt) {
        TransactionContext::on_in_doubt(self, in_doubt);
    }
}

/// What handles read and the driver writes.
#[derive(Debug)]
pub(crate) struct Shared {
    /// How many partitions the cluster has.
    pub(crate) partitions: AtomicU32,
    /// What was applied of each mounted partition.
    pub(crate) marks: Marks,
    pub(crate) telemetry: Telemetry,
    /// Numbers calls.
    calls: AtomicU64,
    held: Mutex<Held>,
    max_pending: usize,
    max_pending_bytes: usize,
    /// Told, one at a time, that a call gave its room back.
    freed: Notify,
}

/// The room that pending calls take.
#[derive(Debug, Default)]
struct Held {
    calls: usize,
    bytes: usize,
}

impl Shared {
    pub(crate) fn new(
        max_pending: usize,
        max_pending_bytes: usize,
        telemetry: Telemetry,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions: AtomicU32::new(0),
            marks: Marks::default(),
            telemetry,
            calls: AtomicU64::new(0),
            held: Mutex::default(),
            max_pending,
            max_pending_bytes,
            freed: Notify::new(),
        })
    }

    /// The name of the next call.
    pub(crate) fn next_call(&self) -> CallId {
        CallId(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// Room for one more call that holds so many bytes; `Err`: how many are pending. Who gets none
    /// takes none either, not even for a moment: another one would wait for it and never be told.
    pub(crate) fn permit(self: &Arc<Self>, bytes: usize) -> Result<Permit, usize> {
        let mut held = self.held();
        let bytes_then = held.bytes.saturating_add(bytes);
        if held.calls >= self.max_pending || bytes_then > self.max_pending_bytes {
            return Err(held.calls);
        }
        *held = Held { calls: held.calls + 1, bytes: bytes_then };
        drop(held);
        self.telemetry.pending.increment(1);
        Ok(Permit { shared: self.clone(), bytes })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::permit`], once there is room; `Err` where there never will be.
    ///
    /// Whoever holds room gives it back in the end, and wakes one who waits. One that finds too
    /// little waits again: what stands in its way is held, and will be given back, too.
    pub(crate) async fn room(self: &Arc<Self>, bytes: usize) -> Result<Permit, usize> {
        if self.max_pending == 0 || bytes > self.max_pending_bytes {
            return self.permit(bytes);
        }
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on nothing that is freed is missed.
            freed.as_mut().enable();
            if let Ok(permit) = self.permit(bytes) {
                return Ok(permit);
            }
            freed.await;
        }
    }
}

/// Room that a pending call takes, until it ends.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.telemetry.pending.decrement(1);
        let mut held = self.shared.held();
        *held = Held { calls: held.calls - 1, bytes: held.bytes - self.bytes };
        drop(held);
        self.shared.freed.notify_one();
    }
}

/// High-water marks of mounted partitions, readable from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Marks(RwLock<BTreeMap<PartitionId, Arc<AtomicU64>>>);

impl Marks {
    pub(crate) fn of(&self, partition: PartitionId) -> Option<Mark> {
        let marks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let count = marks.get(&partition)?.load(Ordering::Acquire);
        Some(Mark::before(TransactionId(count)))
    }

    pub(crate) fn store(&self, partition: PartitionId, mark: Mark) {
        let marks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = marks.get(&partition) {
            slot.store(mark.count(), Ordering::Release);
            return;
        }
        drop(marks);
        let mut marks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        marks.insert(partition, Arc::new(AtomicU64::new(mark.count())));
    }

    pub(crate) fn remove(&self, partition: PartitionId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[test]
    fn pending_calls_are_bounded_in_number_and_bytes() {
        let shared = Shared::new(2, 100, Telemetry::silent());
        let first = shared.permit(60).expect("room");
        assert_eq!(shared.permit(60).expect_err("too many bytes"), 1);
        let second = shared.permit(40).expect("room");
        assert_eq!(shared.permit(0).expect_err("too many"), 2);
        drop((first, second));
        assert!(shared.permit(100).is_ok(), "ended calls give their room back");
    }

    async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_in_turn() {
        let shared = Shared::new(2, 100, Telemetry::silent());
        let first = shared.permit(60).expect("room");
        let second = shared.permit(10).expect("room");
        let (mut large, mut small) = (Box::pin(shared.room(90)), Box::pin(shared.room(20)));
        assert!(is_pending(large.as_mut()).await && is_pending(small.as_mut()).await);
        drop(second);
        assert!(is_pending(large.as_mut()).await, "too little for it");
        drop(first);
        let small = small.await.expect("room");
        drop(small);
        let large = large.await.expect("room");
        assert_eq!(shared.room(101).await.expect_err("never"), 1);
        drop(large);
    }

    #[test]
    fn marks_are_known_while_mounted() {
        let marks = Marks::default();
        let partition = PartitionId(3);
        assert_eq!(marks.of(partition), None);
        marks.store(partition, Mark::NONE);
        marks.store(partition, Mark::at(TransactionId(7)));
        assert_eq!(marks.of(partition), Some(Mark::at(TransactionId(7))));
        marks.remove(partition);
        assert_eq!(marks.of(partition), None);
    }
}
