//! The way between a loop and a journal's threads: bounded, in order, batches in and batches out.
//!
//! Either end may be a task, which polls, or a thread, which blocks; both wait for the other in
//! the same state, under one lock that nobody holds while doing anything else. Whoever changes
//! the state takes note of who waits before it lets go of the lock, and wakes it afterwards.
//!
//! What was put in before the sender was dropped can still be taken.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(waltz_loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(waltz_loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disconnected;

/// The end that puts in.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The end that takes out.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// A mailbox for at most `capacity` items.
pub(crate) fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a mailbox holds something");
    let state = State {
        items: Vec::new(),
        disconnected: false,
        sender: Waiting::Nobody,
        receiver: Waiting::Nobody,
    };
    let shared = Shared {
        capacity,
        state: Mutex::new(state),
        room_came: Condvar::new(),
        items_came: Condvar::new(),
    };
    let shared = Arc::new(shared);
    (Sender(shared.clone()), Receiver(shared))
}

#[derive(Debug)]
struct Shared<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    room_came: Condvar,
    items_came: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    disconnected: bool,
    sender: Waiting,
    receiver: Waiting,
}

/// Who waits at one end. Known so that nobody is woken in vain: that would be a system call.
#[derive(Debug)]
enum Waiting {
    Nobody,
    Task(Waker),
    Thread,
}

impl Waiting {
    fn set_task(&mut self, cx: &Context<'_>) {
        match self {
            Self::Task(waker) => waker.clone_from(cx.waker()),
            other => *other = Self::Task(cx.waker().clone()),
        }
    }

    /// Nobody waits from now on; whoever did is to be woken once the lock is released.
    fn end(&mut self) -> Self {
        std::mem::replace(self, Self::Nobody)
    }

    fn wake(self, thread: &Condvar) {
        match self {
            Self::Nobody => {}
            Self::Task(waker) => waker.wake(),
            Self::Thread => thread.notify_one(),
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock, and if it did the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        condition: &Condvar,
        state: MutexGuard<'a, State<T>>,
    ) -> MutexGuard<'a, State<T>> {
        condition.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves as many items as there is room for; tells the receiver if there are any.
    fn put(&self, mut state: MutexGuard<'_, State<T>>, items: &mut VecDeque<T>) {
        let count = items.len().min(self.capacity - state.items.len());
        if count == 0 {
            return;
        }
        state.items.extend(items.drain(..count));
        let receiver = state.receiver.end();
        drop(state);
        receiver.wake(&self.items_came);
    }

    /// Moves all items out; tells the sender.
    fn take(&self, mut state: MutexGuard<'_, State<T>>, items: &mut Vec<T>) {
        if items.is_empty() {
            std::mem::swap(items, &mut state.items);
        } else {
            items.append(&mut state.items);
        }
        let sender = state.sender.end();
        drop(state);
        sender.wake(&self.room_came);
    }

    fn disconnect(&self) {
        let mut state = self.lock();
        state.disconnected = true;
        let (sender, receiver) = (state.sender.end(), state.receiver.end());
        drop(state);
        sender.wake(&self.room_came);
        receiver.wake(&self.items_came);
    }
}

impl<T> Sender<T> {
    /// Moves the first of `items` in, as many as there is room for.
    pub(crate) fn offer(&mut self, items: &mut VecDeque<T>) -> Result<(), Disconnected> {
        let state = self.0.lock();
        if state.disconnected {
            return Err(Disconnected);
        }
        self.0.put(state, items);
        Ok(())
    }

    /// Moves the first of `items` in, as many as there is room for. Ready once that was all;
    /// otherwise the task is woken when there is room again.
    pub(crate) fn poll_offer(
        &mut self,
        cx: &Context<'_>,
        items: &mut VecDeque<T>,
    ) -> Poll<Result<(), Disconnected>> {
        let mut state = self.0.lock();
        if state.disconnected {
            return Poll::Ready(Err(Disconnected));
        }
        let fits = items.len() <= self.0.capacity - state.items.len();
        if !fits {
            state.sender.set_task(cx);
        }
        self.0.put(state, items);
        if fits { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Moves an item in, and blocks the thread until there is room for it.
    pub(crate) fn send(&mut self, item: T) -> Result<(), Disconnected> {
        let mut state = self.0.lock();
        while state.items.len() == self.0.capacity && !state.disconnected {
            state.sender = Waiting::Thread;
            state = self.0.wait(&self.0.room_came, state);
        }
        if state.disconnected {
            return Err(Disconnected);
        }
        state.items.push(item);
        let receiver = state.receiver.end();
        drop(state);
        receiver.wake(&self.0.items_came);
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Appends everything there is to `items`; otherwise the task is woken when something comes.
    pub(crate) fn poll_take(
        &mut self,
        cx: &Context<'_>,
        items: &mut Vec<T>,
    ) -> Poll<Result<(), Disconnected>> {
        let mut state = self.0.lock();
        if !state.items.is_empty() {
            self.0.take(state, items);
            Poll::Ready(Ok(()))
        } else if state.disconnected {
            Poll::Ready(Err(Disconnected))
        } else {
            state.receiver.set_task(cx);
            Poll::Pending
        }
    }

    /// Appends everything there is to `items`, and blocks the thread until there is something.
    pub(crate) fn take(&mut self, items: &mut Vec<T>) -> Result<(), Disconnected> {
        let mut state = self.0.lock();
        while state.items.is_empty() {
            if state.disconnected {
                return Err(Disconnected);
            }
            state.receiver = Waiting::Thread;
            state = self.0.wait(&self.0.items_came, state);
        }
        self.0.take(state, items);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

#[cfg(all(test, not(waltz_loom)))]
mod tests {
    use super::*;

    fn polled<T>(poll: impl FnOnce(&Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn no_more_goes_in_than_there_is_room_for_and_all_comes_out_in_order() {
        let (mut sender, mut receiver) = mailbox(3);
        let mut items: VecDeque<_> = (0..5).collect();
        sender.offer(&mut items).unwrap();
        assert_eq!(items, [3, 4]);
        assert!(polled(|cx| sender.poll_offer(cx, &mut items)).is_pending());
        let mut taken = Vec::new();
        receiver.take(&mut taken).unwrap();
        assert!(polled(|cx| sender.poll_offer(cx, &mut items)).is_ready());
        receiver.take(&mut taken).unwrap();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert!(polled(|cx| receiver.poll_take(cx, &mut taken)).is_pending());
    }

    #[test]
    fn what_was_sent_before_the_sender_went_can_be_taken() {
        let (mut sender, mut receiver) = mailbox(3);
        sender.send(1).unwrap();
        drop(sender);
        let mut taken = Vec::new();
        receiver.take(&mut taken).unwrap();
        assert_eq!(taken, [1]);
        assert_eq!(receiver.take(&mut taken), Err(Disconnected));
        assert_eq!(polled(|cx| receiver.poll_take(cx, &mut taken)), Poll::Ready(Err(Disconnected)));
    }

    #[test]
    fn nothing_goes_in_once_the_receiver_is_gone() {
        let (mut sender, receiver) = mailbox(1);
        sender.send(1).unwrap();
        drop(receiver);
        assert_eq!(sender.send(2), Err(Disconnected));
        assert_eq!(sender.offer(&mut VecDeque::from([2])), Err(Disconnected));
        let outcome = polled(|cx| sender.poll_offer(cx, &mut VecDeque::from([2])));
        assert_eq!(outcome, Poll::Ready(Err(Disconnected)));
    }
}

/// Every interleaving of two ends. Run with `RUSTFLAGS="--cfg waltz_loom"` and a target directory
/// of its own. A lost wake-up shows as a deadlock, which loom reports.
#[cfg(all(test, waltz_loom))]
mod interleavings {
    use super::*;
    use loom::future::block_on;
    use loom::thread;
    use std::future::poll_fn;

    const ITEMS: [u32; 3] = [1, 2, 3];

    fn poll_all(receiver: &mut Receiver<u32>, capacity: usize) -> Vec<u32> {
        let mut all = Vec::new();
        loop {
            let mut taken = Vec::new();
            if block_on(poll_fn(|cx| receiver.poll_take(cx, &mut taken))).is_err() {
                return all;
            }
            assert!((1..=capacity).contains(&taken.len()));
            all.extend(taken);
        }
    }

    fn take_all(receiver: &mut Receiver<u32>, capacity: usize) -> Vec<u32> {
        let mut all = Vec::new();
        loop {
            let mut taken = Vec::new();
            if receiver.take(&mut taken).is_err() {
                return all;
            }
            assert!((1..=capacity).contains(&taken.len()));
            all.extend(taken);
        }
    }

    #[test]
    fn a_task_sends_to_a_thread() {
        for capacity in [1, 2] {
            loom::model(move || {
                let (mut sender, mut receiver) = mailbox(capacity);
                let thread = thread::spawn(move || take_all(&mut receiver, capacity));
                let mut items = VecDeque::from(ITEMS);
                sender.offer(&mut items).unwrap();
                block_on(poll_fn(|cx| sender.poll_offer(cx, &mut items))).unwrap();
                drop(sender);
                assert_eq!(thread.join().unwrap(), ITEMS);
            });
        }
    }

    #[test]
    fn a_thread_sends_to_a_task() {
        for capacity in [1, 2] {
            loom::model(move || {
                let (mut sender, mut receiver) = mailbox(capacity);
                let thread = thread::spawn(move || {
                    ITEMS.into_iter().for_each(|item| sender.send(item).unwrap());
                });
                assert_eq!(poll_all(&mut receiver, capacity), ITEMS);
                thread.join().unwrap();
            });
        }
    }

    #[test]
    fn a_receiver_that_goes_away_releases_a_waiting_sender() {
        loom::model(|| {
            let (mut sender, mut receiver) = mailbox(1);
            let thread = thread::spawn(move || {
                let mut taken = Vec::new();
                receiver.take(&mut taken).unwrap();
            });
            let mut outcome = Ok(());
            while outcome.is_ok() {
                outcome = sender.send(1);
            }
            assert_eq!(outcome, Err(Disconnected));
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_receiver_that_goes_away_releases_a_waiting_task() {
        loom::model(|| {
            let (mut sender, receiver) = mailbox(1);
            let thread = thread::spawn(move || drop(receiver));
            let mut items = VecDeque::from(ITEMS);
            let outcome = block_on(poll_fn(|cx| sender.poll_offer(cx, &mut items)));
            assert_eq!(outcome, Err(Disconnected));
            thread.join().unwrap();
        });
    }
}
