//! Tokio's clock: it goes with the wall's, or stands still between two events when it is paused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use waltz_core::time::Time;
use waltz_runtime::Timer;

/// A clock that counts from the start of its cluster, and one alarm.
#[derive(Debug)]
pub(super) struct TestTimer {
    origin: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl TestTimer {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, alarm: None }
    }

    /// The instant of a time; one too far to be an instant is as far as makes no difference.
    fn moment(&self, time: Time) -> Instant {
        const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        self.origin + Duration::from_nanos(time.0).min(FOREVER)
    }
}

impl Timer for TestTimer {
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
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(moment)));
        if alarm.deadline() != moment {
            alarm.as_mut().reset(moment);
        }
        alarm.as_mut().poll(cx)
    }
}
