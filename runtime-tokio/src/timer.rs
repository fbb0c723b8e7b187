//! The monotonic clock and its alarm: tokio's, which a test may pause.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use waltz_core::time::Time;
use waltz_runtime::Timer;

/// All clocks of a process count from here, unless they are given another origin.
static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// A clock and one alarm on tokio's timer wheel: alarms are rounded up to the next millisecond.
/// Must be polled inside a tokio runtime that has time enabled.
#[derive(Debug)]
pub struct TokioTimer {
    origin: Instant,
    alarm: Option<(Time, Pin<Box<Sleep>>)>,
}

impl TokioTimer {
    /// A clock that goes with all others of the process.
    pub fn new() -> Self {
        Self::counting_from((*ORIGIN).into())
    }

    /// A clock that counts from a moment of the caller's choice.
    pub fn counting_from(origin: Instant) -> Self {
        Self { origin, alarm: None }
    }

    /// The instant of a time; one too far to be an instant is as far as makes no difference.
    fn moment(&self, time: Time) -> Instant {
        const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        self.origin + Duration::from_nanos(time.0).min(FOREVER)
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Time>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.alarm = None;
            return Poll::Pending;
        };
        if deadline <= self.now() {
            self.alarm = None;
            return Poll::Ready(());
        }
        let moment = self.moment(deadline);
        let (set, alarm) =
            self.alarm.get_or_insert_with(|| (deadline, Box::pin(sleep_until(moment))));
        if *set != deadline {
            *set = deadline;
            alarm.as_mut().reset(moment);
        }
        alarm.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn an_alarm_is_never_early_and_a_later_one_replaces_it() {
        let mut timer = TokioTimer::new();
        let first = timer.now() + Duration::from_millis(5);
        let second = first + Duration::from_millis(10);
        poll_fn(|cx| {
            assert!(timer.poll_until(cx, Some(first)).is_pending());
            assert!(timer.poll_until(cx, Some(second)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| timer.poll_until(cx, Some(second))).await;
        assert!(timer.now() >= second);
    }

    #[tokio::test]
    async fn a_deadline_in_the_past_is_due_and_none_never_is() {
        let mut timer = TokioTimer::new();
        poll_fn(|cx| {
            assert!(timer.poll_until(cx, Some(Time::ZERO)).is_ready());
            assert!(timer.poll_until(cx, None).is_pending());
            assert!(timer.poll_until(cx, Some(Time(u64::MAX))).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_clock_counts_from_its_origin() {
        let origin = Instant::now() - Duration::from_secs(7);
        let timer = TokioTimer::counting_from(origin);
        assert!(timer.now() >= Time::ZERO + Duration::from_secs(7));
        assert_eq!(timer.moment(Time(5)), origin + Duration::from_nanos(5));
    }
}
