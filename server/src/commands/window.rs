//! Calls under way, answered in the order they were made.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// A queue of calls, each with something to remember it by. One partition decides its appends in
/// their order, so looking at the oldest alone finds all that have ended.
#[derive(Debug)]
pub struct Window<T, C> {
    pending: VecDeque<(T, C)>,
}

impl<T, C: Future + Unpin> Window<T, C> {
    /// An empty one.
    pub fn new() -> Self {
        Self { pending: VecDeque::new() }
    }

    /// Adds a call that was just made.
    pub fn push(&mut self, note: T, call: C) {
        self.pending.push_back((note, call));
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
    pub async fn next(&mut self) -> (T, C::Output) {
        let answer = poll_fn(|cx| match self.pending.front_mut() {
            Some((_, call)) => Pin::new(call).poll(cx),
            None => Poll::Pending,
        })
        .await;
        self.take(answer)
    }

    /// The oldest, if it has ended.
    pub async fn next_ready(&mut self) -> Option<(T, C::Output)> {
        let (_, call) = self.pending.front_mut()?;
        let answer = poll_fn(|cx| match Pin::new(&mut *call).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        })
        .await?;
        Some(self.take(answer))
    }

    fn take(&mut self, answer: C::Output) -> (T, C::Output) {
        let (note, _) = self.pending.pop_front().expect("the oldest has just ended");
        (note, answer)
    }
}

impl<T, C: Future + Unpin> Default for Window<T, C> {
    fn default() -> Self {
        Self::new()
    }
}
