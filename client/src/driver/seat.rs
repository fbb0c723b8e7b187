//! Contexts between their executions. A context is either in its seat, or away in the one task
//! that runs its code at that time; what it is wanted for meanwhile waits until it is back.

use tokio::sync::oneshot;
use tracing::{Instrument, Span};
use waltz_core::client::{self, CallId, ClientInput, Conflict, Ending, Failure};
use waltz_core::id::{Mark, PartitionId};
use waltz_core::time::Time;
use waltz_runtime::{Runtime, Timer};

use super::execution::{self, Due, Executed};
use super::worker::Owned;
use super::{Driver, Event, Slot};
use crate::call::{AnyContext, Permit, Ran, Submitted, tell};
use crate::callbacks::ClientCallbacks;
use crate::error::{CallbackError, Outcome, SubmitError};
use crate::telemetry::Count;

/// A submitted context that has not ended.
pub(crate) struct Seat {
    partition: PartitionId,
    /// When it was submitted.
    since: Time,
    span: Span,
    /// `None` while it is away, or lost in a panic.
    context: Option<Box<dyn AnyContext>>,
    next: Option<Next>,
    error: Option<CallbackError>,
    done: oneshot::Sender<Outcome>,
    permit: Permit,
}

/// What a context is wanted for when it comes back.
enum Next {
    Execute(Mark),
    End(Ending),
}

impl Seat {
    pub(crate) fn new(partition: PartitionId, since: Time, submitted: Submitted) -> Self {
        let Submitted { context, done, permit, span } = submitted;
        let context = Some(context);
        Self { partition, since, span, context, next: None, error: None, done, permit }
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The committed context, for the worker that applies its transaction.
    pub(crate) fn into_owned(self) -> Owned {
        let Self { since, context, done, permit, span, .. } = self;
        let context = context.expect("a context whose append committed is in its seat");
        Owned::Context { submitted: Submitted { context, done, permit, span }, since }
    }

    /// Tells the context and whoever waits for it how it ended.
    fn end(self, ending: Ending) {
        let Self { partition, context, error, done, permit, span, .. } = self;
        let _entered = span.enter();
        let mut context = context;
        let outcome = match ending {
            Ending::Committed(id) => {
                tracing::debug!(%id, "committed");
                told(&mut context, |context| context.on_completion(true));
                Outcome::Committed(id)
            }
            Ending::Ignored => {
                tracing::debug!("declined");
                told(&mut context, |context| context.on_completion(false));
                Outcome::Ignored
            }
            Ending::Failed(failure) => {
                let error = match (failure, error) {
                    (Failure::Context, Some(error)) => SubmitError::Context(error),
                    (failure, _) => SubmitError::new(partition, failure),
                };
                tracing::debug!(%error, "failed");
                told(&mut context, |context| context.on_exception(&error));
                Outcome::Failed(error)
            }
            Ending::InDoubt(in_doubt) => {
                tracing::debug!(%in_doubt, "in doubt");
                told(&mut context, |context| context.on_in_doubt(&in_doubt));
                Outcome::InDoubt(in_doubt)
            }
        };
        drop(permit);
        // A dropped submission wants no outcome.
        let _ = done.send(outcome);
    }
}

fn told(context: &mut Option<Box<dyn AnyContext>>, what: impl FnOnce(&mut dyn AnyContext)) {
    if let Some(context) = context {
        tell(context.as_mut(), what);
    }
}

impl<R: Runtime, C: ClientCallbacks> Driver<R, C> {
    pub(super) fn execute(&mut self, call: CallId, at: Mark) {
        if self.sender.is_none() {
            return;
        }
        let Some(Slot::Context(seat)) = self.slots.get_mut(&call) else { return };
        let Some(context) = seat.context.take() else {
            seat.next = Some(Next::Execute(at));
            return;
        };
        self.tally.add(Count::Executions, 1);
        let span = tracing::debug_span!(parent: &seat.span, "waltz.execute", %at);
        self.due.push(Due { call, context, at, span });
    }

    /// Executes what has become due.
    pub(super) fn spawn_due(&mut self) {
        if let Some(events) = &self.sender {
            let took = &self.shared.telemetry.executions;
            execution::spawn(&self.runtime, &mut self.due, events, took);
        }
    }

    pub(super) fn lock_failed(&mut self, call: CallId, conflict: Conflict) {
        let (Some(Slot::Context(seat)), Some(events)) = (self.slots.get_mut(&call), &self.sender)
        else {
            return;
        };
        let Some(mut context) = seat.context.take() else {
            unreachable!("a context whose append met a conflict is in its seat");
        };
        let events = events.clone();
        self.tally.add(Count::Conflicts, 1);
        let telling = async move {
            tracing::debug!(%conflict, "conflict");
            tell(context.as_mut(), |context| context.on_lock_failure(&conflict));
            // A driver that is gone has ended every context.
            let _ = events.send(Event::Back { call, context });
        };
        self.runtime.spawn(telling.instrument(seat.span.clone()));
    }

    /// A context has executed.
    pub(super) fn executed(&mut self, executed: Executed) -> Option<ClientInput> {
        let Executed { call, context, ran } = executed;
        let Some(Slot::Context(seat)) = self.slots.get_mut(&call) else { return None };
        seat.context = context;
        if let Some(Next::End(_)) = seat.next {
            self.go_on(call);
            return None;
        }
        let partition = seat.partition;
        let result = match ran {
            Ran::Append(draft) => client::Executed::Append(draft),
            Ran::Ignored => client::Executed::Ignored,
            Ran::Failed(error) => {
                seat.error = Some(error);
                client::Executed::Failed
            }
        };
        Some(ClientInput::Executed { call, partition, result })
    }

    /// A context was told of a conflict.
    pub(super) fn back(&mut self, call: CallId, context: Box<dyn AnyContext>) {
        if let Some(Slot::Context(seat)) = self.slots.get_mut(&call) {
            seat.context = Some(context);
            self.go_on(call);
        }
    }

    fn go_on(&mut self, call: CallId) {
        let Some(Slot::Context(seat)) = self.slots.get_mut(&call) else { return };
        match seat.next.take() {
            Some(Next::Execute(at)) => self.execute(call, at),
            Some(Next::End(ending)) => {
                if let Some(Slot::Context(seat)) = self.slots.remove(&call) {
                    self.spawn_end(*seat, ending);
                }
            }
            None => {}
        }
    }

    /// Ends a context, now or when it is back.
    pub(super) fn end_context(&mut self, call: CallId, mut seat: Box<Seat>, ending: Ending) {
        if let Ending::Committed(_) = ending {
            self.shared.telemetry.submissions.record(self.timer.now() - seat.since);
        }
        let away = seat.context.is_none() && seat.error.is_none();
        if away {
            seat.next = Some(Next::End(ending));
            self.slots.insert(call, Slot::Context(seat));
        } else {
            self.spawn_end(*seat, ending);
        }
    }

    /// Application code never runs in the driver's own task.
    fn spawn_end(&self, seat: Seat, ending: Ending) {
        let events = self.sender.clone();
        self.runtime.spawn(async move {
            seat.end(ending);
            drop(events);
        });
    }
}
