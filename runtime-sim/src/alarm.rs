//! True virtual time, and waking a task at a moment of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use madsim::time::TimeHandle;
use waltz_core::time::Time;
use waltz_runtime::Timer;

/// The clock of the simulation itself: nanoseconds since the run began. Hosts see their own
/// clocks, see [`crate::clock`].
#[derive(Clone)]
pub(crate) struct VirtualTime(TimeHandle);

impl VirtualTime {
    /// The clock of the simulation that is running on this thread.
    pub(crate) fn current() -> Self {
        Self(TimeHandle::current())
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    /// Wakes at `at`, or at once if that has passed. It can't be taken back.
    pub(crate) fn wake_at(&self, at: Time, waker: &Waker) {
        let delay = at.since(self.now());
        if delay.is_zero() {
            waker.wake_by_ref();
            return;
        }
        // Sleeping takes a millisecond at least; only a sleep that is reset can take less.
        let mut sleep = self.0.sleep(Duration::ZERO);
        Pin::new(&mut sleep).reset(self.0.now_instant() + delay);
        // Polling registers the waker for good: a dropped sleep still wakes.
        let pending = Pin::new(&mut sleep).poll(&mut Context::from_waker(waker)).is_pending();
        debug_assert!(pending, "the deadline is ahead");
    }
}

/// The clock of the simulation itself, and one alarm by it: for what no host's clock touches.
pub struct TrueTimer {
    time: VirtualTime,
    alarm: Alarm,
}

impl TrueTimer {
    pub(crate) fn new(time: VirtualTime) -> Self {
        Self { time, alarm: Alarm::default() }
    }
}

impl Timer for TrueTimer {
    fn now(&self) -> Time {
        self.time.now()
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Time>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if deadline <= self.time.now() {
            return Poll::Ready(());
        }
        self.alarm.set(&self.time, deadline, cx);
        Poll::Pending
    }
}

/// One pending wake-up of a polled object, registered once however often it is polled.
#[derive(Default)]
pub(crate) struct Alarm(Option<(Time, Waker)>);

impl Alarm {
    /// Makes sure that the task polling now is woken at `at`.
    pub(crate) fn set(&mut self, time: &VirtualTime, at: Time, cx: &Context<'_>) {
        let armed = self.0.as_ref().is_some_and(|(armed, waker)| {
            *armed == at && at > time.now() && waker.will_wake(cx.waker())
        });
        if !armed {
            time.wake_at(at, cx.waker());
            self.0 = Some((at, cx.waker().clone()));
        }
    }
}
