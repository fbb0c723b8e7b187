//! The monotonic clock and its alarm.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use waltz_core::time::Time;
use waltz_runtime::Timer;

/// All clocks of a process count from here.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A clock and one alarm on tokio's timer wheel: alarms are rounded up to the next millisecond.
/// Must be polled inside a tokio runtime that has time enabled.
#[derive(Debug, Default)]
pub struct TokioTimer {
    alarm: Option<(Time, Pin<Box<Sleep>>)>,
}

impl TokioTimer {
    /// No alarm is set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Time {
        Time(u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX))
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
        match &mut self.alarm {
            Some((set, _)) if *set == deadline => {}
            Some((set, sleep)) => {
                *set = deadline;
                sleep.as_mut().reset(moment(deadline));
            }
            None => {
                let sleep = Box::pin(tokio::time::sleep_until(moment(deadline)));
                self.alarm = Some((deadline, sleep));
            }
        }
        match &mut self.alarm {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// The instant of a time; one too far to be an instant is as far as makes no difference.
fn moment(time: Time) -> tokio::time::Instant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    (*ORIGIN + Duration::from_nanos(time.0).min(FOREVER)).into()
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
}
