//! Executions of contexts, in tasks of their own.
//!
//! What becomes due in one turn shares tasks: most contexts compute without waiting, and a task for
//! each of them would cost more than they do. One that waits goes on in a task of its own.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use metrics::Histogram;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;
use waltz_core::client::CallId;
use waltz_core::id::Mark;
use waltz_core::time::Time;
use waltz_runtime::{Runtime, Timer};

use super::Event;
use crate::call::{AnyContext, Execution, Ran};

/// How many contexts share a task at most. One that computes for long holds up those behind it.
const CONTEXTS_PER_TASK: usize = 32;

/// A context to be executed.
pub(crate) struct Due {
    pub(super) call: CallId,
    pub(super) context: Box<dyn AnyContext>,
    pub(super) at: Mark,
    pub(super) span: Span,
}

/// A context that was executed.
pub(crate) struct Executed {
    pub(super) call: CallId,
    /// `None` when it panicked.
    pub(super) context: Option<Box<dyn AnyContext>>,
    pub(super) ran: Ran,
}

/// Executes what has become due; `took` measures each execution.
pub(super) fn spawn<R: Runtime>(
    runtime: &R,
    due: &mut Vec<Due>,
    events: &UnboundedSender<Event>,
    took: &Histogram,
) {
    while !due.is_empty() {
        let share: Vec<Due> = due.drain(..due.len().min(CONTEXTS_PER_TASK)).collect();
        runtime.spawn(execute(runtime.clone(), share, events.clone(), took.clone()));
    }
}

/// Executes contexts one after the other; one that has to wait holds up nobody.
async fn execute<R: Runtime>(
    runtime: R,
    share: Vec<Due>,
    events: UnboundedSender<Event>,
    took: Histogram,
) {
    let timer = runtime.timer();
    let mut now = timer.now();
    let mut ended = Vec::with_capacity(share.len());
    for due in share {
        let mut running = Running::new(due, now);
        match poll_fn(|cx| Poll::Ready(running.poll(cx))).await {
            Poll::Ready(executed) => {
                let began = std::mem::replace(&mut now, timer.now());
                took.record(now - began);
                ended.push(executed);
            }
            Poll::Pending => {
                let (events, took, timer) = (events.clone(), took.clone(), runtime.timer());
                runtime.spawn(async move {
                    let executed = poll_fn(|cx| running.poll(cx)).await;
                    took.record(timer.now() - running.began);
                    tell(&events, vec![executed]);
                });
            }
        }
    }
    if !ended.is_empty() {
        tell(&events, ended);
    }
}

fn tell(events: &UnboundedSender<Event>, ended: Vec<Executed>) {
    // A driver that is gone has ended every context.
    let _ = events.send(Event::Executed(ended));
}

/// A context that executes.
struct Running {
    call: CallId,
    execution: Pin<Box<dyn Execution>>,
    span: Span,
    began: Time,
}

impl Running {
    fn new(due: Due, began: Time) -> Self {
        let Due { call, context, at, span } = due;
        Self { call, execution: context.execute(at), span, began }
    }

    /// Runs the application's code. A panic of it ends the context as failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Executed> {
        let Self { call, execution, span, .. } = self;
        let _entered = span.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| execution.as_mut().poll(cx)));
        let (context, ran) = match polled {
            Ok(polled) => {
                let (context, ran) = std::task::ready!(polled);
                (Some(context), ran)
            }
            Err(_) => (None, Ran::Failed("the context panicked".into())),
        };
        Poll::Ready(Executed { call: *call, context, ran })
    }
}
