//! Handles of what is under way.
//!
//! Dropping a handle before its call ended withdraws the call. What was not sent yet never will
//! be; what was sent may still be committed, and is not tried again. `detach` lets a call run on
//! without its handle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::sync::oneshot::{self, error::TryRecvError};
use waltz_core::client::CallId;
use waltz_core::id::TransactionId;

use crate::call::Call;
use crate::error::{AppendError, Outcome};

/// A submitted context; ready when it ended. Dropping it before withdraws the context: it ends by
/// `on_exception` with [`SubmitError::Cancelled`](crate::SubmitError::Cancelled) if its transaction
/// was not sent, by `on_in_doubt` if it was.
#[derive(Debug)]
#[must_use = "dropping it withdraws the context; await it, or detach it"]
pub struct Submission(Handle<Outcome>);

/// An append; ready when it ended. A committed one was given to the application to apply, too, so
/// that the client's high-water mark includes it unless applying failed. Dropping it before
/// withdraws the record if it was not sent yet.
#[derive(Debug)]
#[must_use = "dropping it withdraws the append; await it, or detach it"]
pub struct Append(Handle<Result<TransactionId, AppendError>>);

#[derive(Debug)]
enum Handle<T> {
    Ended(Option<T>),
    Waiting(Waiting<T>),
}

/// Withdraws its call when it is dropped before the end.
#[derive(Debug)]
struct Waiting<T> {
    end: oneshot::Receiver<T>,
    call: CallId,
    /// `None` once detached. A weak sender: handles don't keep a client open.
    calls: Option<WeakUnboundedSender<Call>>,
}

impl<T: Unpin> Handle<T> {
    fn waiting(end: oneshot::Receiver<T>, call: CallId, calls: WeakUnboundedSender<Call>) -> Self {
        Self::Waiting(Waiting { end, call, calls: Some(calls) })
    }

    fn detach(self) {
        if let Self::Waiting(mut waiting) = self {
            waiting.calls = None;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, abandoned: T) -> Poll<T> {
        match self {
            Self::Ended(ended) => Poll::Ready(ended.take().expect("polled after it ended")),
            Self::Waiting(waiting) => {
                Pin::new(&mut waiting.end).poll(cx).map(|end| end.unwrap_or(abandoned))
            }
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        let Some(calls) = self.calls.take() else { return };
        if matches!(self.end.try_recv(), Err(TryRecvError::Empty))
            && let Some(calls) = calls.upgrade()
        {
            // A driver that is gone has ended every call.
            let _ = calls.send(Call::Cancel { call: self.call });
        }
    }
}

impl Submission {
    pub(crate) fn waiting(
        end: oneshot::Receiver<Outcome>,
        call: CallId,
        calls: WeakUnboundedSender<Call>,
    ) -> Self {
        Self(Handle::waiting(end, call, calls))
    }

    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self(Handle::Ended(Some(outcome)))
    }

    /// Lets the context run on. Its callbacks tell how it ends.
    pub fn detach(self) {
        self.0.detach();
    }
}

impl Future for Submission {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll(cx, Outcome::Abandoned)
    }
}

impl Append {
    pub(crate) fn waiting(
        end: oneshot::Receiver<Result<TransactionId, AppendError>>,
        call: CallId,
        calls: WeakUnboundedSender<Call>,
    ) -> Self {
        Self(Handle::waiting(end, call, calls))
    }

    pub(crate) fn ended(error: AppendError) -> Self {
        Self(Handle::Ended(Some(Err(error))))
    }

    /// Lets the append go on. The feed tells whether it is committed.
    pub fn detach(self) {
        self.0.detach();
    }
}

impl Future for Append {
    type Output = Result<TransactionId, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, Err(AppendError::Abandoned))
    }
}
