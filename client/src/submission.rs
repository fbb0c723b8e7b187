//! Handles of what is under way. Dropping one cancels nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use waltz_core::id::TransactionId;

use crate::error::{AppendError, Outcome};

/// A submitted context; ready when it ended.
#[derive(Debug)]
#[must_use = "the context runs anyway; await it or drop it on purpose"]
pub struct Submission(Pending<Outcome>);

/// An append; ready when it ended. A committed one was given to the application to apply, too, so
/// that the client's high-water mark includes it unless applying failed.
#[derive(Debug)]
#[must_use = "the append happens anyway; await it or drop it on purpose"]
pub struct Append(Pending<Result<TransactionId, AppendError>>);

#[derive(Debug)]
enum Pending<T> {
    Ended(Option<T>),
    Waiting(oneshot::Receiver<T>),
}

impl<T: Unpin> Pending<T> {
    fn poll(&mut self, cx: &mut Context<'_>, dropped: T) -> Poll<T> {
        match self {
            Self::Ended(ended) => Poll::Ready(ended.take().expect("polled after it ended")),
            Self::Waiting(end) => Pin::new(end).poll(cx).map(|end| end.unwrap_or(dropped)),
        }
    }
}

impl Submission {
    pub(crate) fn waiting(end: oneshot::Receiver<Outcome>) -> Self {
        Self(Pending::Waiting(end))
    }

    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self(Pending::Ended(Some(outcome)))
    }
}

impl Future for Submission {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // A runtime that was shut down drops the driver with everything under way.
        self.0.poll(cx, Outcome::InDoubt)
    }
}

impl Append {
    pub(crate) fn waiting(end: oneshot::Receiver<Result<TransactionId, AppendError>>) -> Self {
        Self(Pending::Waiting(end))
    }

    pub(crate) fn ended(error: AppendError) -> Self {
        Self(Pending::Ended(Some(Err(error))))
    }
}

impl Future for Append {
    type Output = Result<TransactionId, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, Err(AppendError::InDoubt))
    }
}
