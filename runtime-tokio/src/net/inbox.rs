//! Where the tasks of all connections leave what arrived, and the loop takes it.
//!
//! Bounded for each connection: one whose frames the loop has not taken waits, so that its socket
//! fills up and the peer has to wait too. Each taking empties the inbox, so it is enough for a
//! connection to know how much it left there since the last one. What all of them left is bounded,
//! too; what is no whole frame yet is not here (`bounds.rs`).

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::{oneshot, watch};
use waltz_core::access::Identity;
use waltz_core::io::ConnectionId;
use waltz_core::wire::Frame;

use super::stream::WriteHalf;

/// What a connection's task tells the loop.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Another process connected.
    Accepted {
        conn: ConnectionId,
        write: WriteHalf,
        identity: Option<Identity>,
        stop: oneshot::Sender<()>,
        lifted: watch::Sender<bool>,
    },
    /// A dial succeeded.
    Dialed { conn: ConnectionId, write: WriteHalf, identity: Option<Identity> },
    /// Frames came, all that one read brought.
    Received { conn: ConnectionId, frames: Vec<Frame> },
    /// The connection ended or could not be made.
    Closed { conn: ConnectionId, reason: String },
}

/// What one connection left in the inbox since it was last emptied.
#[derive(Debug, Default)]
pub(super) struct Untaken {
    taking: u64,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Inbox {
    bytes_per_connection: usize,
    bytes_in_all: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    arrivals: Vec<Arrival>,
    /// What the frames among them take.
    bytes: usize,
    /// How often the loop emptied the inbox.
    takings: u64,
    /// The loop, when it found nothing.
    taker: Option<Waker>,
    /// Tasks with more frames than they may leave.
    full: Vec<Waker>,
}

impl Inbox {
    pub(super) fn new(bytes_per_connection: usize, bytes_in_all: usize) -> Self {
        Self { bytes_per_connection, bytes_in_all, state: Mutex::default() }
    }

    /// Leaves what takes no room to speak of.
    pub(super) fn leave(&self, arrival: Arrival) {
        self.leave_locked(self.lock(), arrival);
    }

    /// Leaves frames once there is room for their `bytes`; more than may ever be left at once
    /// goes alone.
    pub(super) async fn leave_frames(
        &self,
        conn: ConnectionId,
        frames: Vec<Frame>,
        bytes: usize,
        untaken: &mut Untaken,
    ) {
        let mut arrival = Some(Arrival::Received { conn, frames });
        poll_fn(|cx| {
            let mut state = self.lock();
            if untaken.taking != state.takings {
                *untaken = Untaken { taking: state.takings, bytes: 0 };
            }
            let is_over = |left: usize, most| left > 0 && left + bytes > most;
            if is_over(untaken.bytes, self.bytes_per_connection)
                || is_over(state.bytes, self.bytes_in_all)
            {
                state.full.push(cx.waker().clone());
                return Poll::Pending;
            }
            untaken.bytes += bytes;
            state.bytes += bytes;
            if let Some(arrival) = arrival.take() {
                self.leave_locked(state, arrival);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Takes everything there is into `arrivals`, which must be empty.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>, arrivals: &mut Vec<Arrival>) -> Poll<()> {
        let mut state = self.lock();
        if state.arrivals.is_empty() {
            match &mut state.taker {
                Some(taker) => taker.clone_from(cx.waker()),
                None => state.taker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        std::mem::swap(&mut state.arrivals, arrivals);
        state.takings += 1;
        state.bytes = 0;
        let full = std::mem::take(&mut state.full);
        drop(state);
        full.into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }

    fn leave_locked(&self, mut state: MutexGuard<'_, State>, arrival: Arrival) {
        state.arrivals.push(arrival);
        let taker = state.taker.take();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and if it did the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 100;

    async fn leave(inbox: &Inbox, untaken: &mut Untaken, bytes: usize) {
        inbox.leave_frames(ConnectionId::accepted(1), Vec::new(), bytes, untaken).await;
    }

    fn poll_once(future: impl Future<Output = ()>) -> Poll<()> {
        std::pin::pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_connection_waits_when_its_share_is_full_and_no_other_does() {
        let inbox = Inbox::new(BOUND, usize::MAX);
        let (mut fast, mut slow) = (Untaken::default(), Untaken::default());
        assert!(poll_once(leave(&inbox, &mut fast, BOUND)).is_ready());
        assert!(poll_once(leave(&inbox, &mut fast, 1)).is_pending());
        assert!(poll_once(leave(&inbox, &mut slow, 1)).is_ready());
        let mut taken = Vec::new();
        assert!(inbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut taken).is_ready());
        assert_eq!(taken.len(), 2);
        assert!(poll_once(leave(&inbox, &mut fast, 1)).is_ready());
    }

    #[test]
    fn all_wait_when_all_together_have_left_too_much() {
        let inbox = Inbox::new(BOUND, 2 * BOUND);
        let mut untaken: [_; 3] = std::array::from_fn(|_| Untaken::default());
        assert!(poll_once(leave(&inbox, &mut untaken[0], BOUND)).is_ready());
        assert!(poll_once(leave(&inbox, &mut untaken[1], BOUND)).is_ready());
        assert!(poll_once(leave(&inbox, &mut untaken[2], 1)).is_pending());
        let mut taken = Vec::new();
        assert!(inbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut taken).is_ready());
        assert!(poll_once(leave(&inbox, &mut untaken[2], 1)).is_ready());
    }

    #[test]
    fn more_than_a_whole_share_goes_alone() {
        let inbox = Inbox::new(BOUND, usize::MAX);
        let mut untaken = Untaken::default();
        assert!(poll_once(leave(&inbox, &mut untaken, 10 * BOUND)).is_ready());
        assert!(poll_once(leave(&inbox, &mut untaken, 1)).is_pending());
    }

    #[tokio::test]
    async fn a_waiting_connection_and_a_waiting_loop_are_woken() {
        let inbox = std::sync::Arc::new(Inbox::new(BOUND, usize::MAX));
        let writer = inbox.clone();
        let task = tokio::spawn(async move {
            let mut untaken = Untaken::default();
            for _ in 0..1000 {
                leave(&writer, &mut untaken, BOUND).await;
            }
        });
        let (mut arrivals, mut total) = (Vec::new(), 0);
        while total < 1000 {
            poll_fn(|cx| inbox.poll_take(cx, &mut arrivals)).await;
            total += arrivals.drain(..).count();
        }
        task.await.unwrap();
    }
}
