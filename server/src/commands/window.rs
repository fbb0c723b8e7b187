//! Appends under way, answered in the order they were made.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use waltz_client::{Append, AppendError, TransactionId};

/// How an append ended.
pub type Answer = Result<TransactionId, AppendError>;

/// A queue of appends, each with something to remember it by. One partition decides its appends in
/// their order, so looking at the oldest alone finds all that have ended.
#[derive(Debug)]
pub struct Window<T> {
    pending: VecDeque<(T, Append)>,
}

impl<T> Window<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self { pending: VecDeque::new() }
    }

    /// Adds an append that was just made.
    pub fn push(&mut self, note: T, append: Append) {
        self.pending.push_back((note, append));
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Waits for the oldest; never ready when there is none. Loses nothing when dropped.
    pub async fn next(&mut self) -> (T, Answer) {
        let answer = poll_fn(|cx| match self.pending.front_mut() {
            Some((_, append)) => Pin::new(append).poll(cx),
            None => Poll::Pending,
        })
        .await;
        self.take(answer)
    }

    /// The oldest, if it has ended.
    pub async fn next_ready(&mut self) -> Option<(T, Answer)> {
        let (_, append) = self.pending.front_mut()?;
        let answer = poll_fn(|cx| match Pin::new(&mut *append).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        })
        .await?;
        Some(self.take(answer))
    }

    fn take(&mut self, answer: Answer) -> (T, Answer) {
        let (note, _) = self.pending.pop_front().expect("the oldest has just ended");
        (note, answer)
    }
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self::new()
    }
}
