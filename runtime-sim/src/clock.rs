//! The monotonic clocks of hosts: each starts somewhere else, runs at its own rate and may jump.
//!
//! A clock never goes back, as a monotonic clock promises. A jump forward makes alarms early by
//! true time, a slow rate makes them late; between two hosts both are skew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use waltz_core::io::Address;
use waltz_core::time::{Random, Time};
use waltz_runtime::Timer;

use crate::alarm::{Alarm, VirtualTime};

const MILLION: i128 = 1_000_000;
/// A clock still runs at a hundredth of true time at its slowest: every alarm comes.
const SLOWEST_PPM: i32 = -990_000;

/// A rate of `drift_ppm` from an anchor on: the local time at a true time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    anchor_true: Time,
    anchor_local: Time,
    drift_ppm: i32,
}

impl Clock {
    fn local(&self, now: Time) -> Time {
        let elapsed = i128::from(now.0.saturating_sub(self.anchor_true.0));
        let scaled = elapsed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        Time(self.anchor_local.0.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX)))
    }

    /// The first true time at which the local time is at least `deadline`.
    fn true_time_of(&self, deadline: Time) -> Time {
        let ahead = i128::from(deadline.0.saturating_sub(self.anchor_local.0));
        let rate = MILLION + i128::from(self.drift_ppm);
        let scaled = (ahead * MILLION + rate - 1) / rate;
        Time(self.anchor_true.0.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX)))
    }

    fn anchor(&mut self, now: Time) {
        (self.anchor_local, self.anchor_true) = (self.local(now), now);
    }
}

#[derive(Debug)]
struct HostClock {
    clock: Clock,
    /// Who waits for an alarm, by the timer's number: to look again when the clock is changed.
    sleepers: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
struct State {
    random: Random,
    hosts: BTreeMap<Address, HostClock>,
    timers: u64,
}

/// The clocks of all hosts; clones share them.
#[derive(Clone)]
pub struct Clocks {
    time: VirtualTime,
    state: Arc<Mutex<State>>,
}

impl Clocks {
    pub(crate) fn new(time: VirtualTime, random: Random) -> Self {
        let state = State { random, hosts: BTreeMap::new(), timers: 0 };
        Self { time, state: Arc::new(Mutex::new(state)) }
    }

    /// Starts a host's clock anew at a random origin; it keeps its rate.
    pub(crate) fn boot(&self, host: &Address) {
        let now = self.time.now();
        let mut state = self.lock();
        let origin = state.random.between(Duration::from_secs(1), Duration::from_secs(1_000_000));
        let drift_ppm = state.hosts.get(host).map_or(0, |old| old.clock.drift_ppm);
        let clock = Clock { anchor_true: now, anchor_local: Time::ZERO + origin, drift_ppm };
        state.hosts.insert(host.clone(), HostClock { clock, sleepers: BTreeMap::new() });
    }

    /// From now on this host's clock is faster (or slower) than true time by so many parts per
    /// million.
    pub fn drift(&self, host: &Address, ppm: i32) {
        self.change(host, |clock| clock.drift_ppm = ppm.max(SLOWEST_PPM));
    }

    /// This host's clock leaps forward, as after a suspended virtual machine.
    pub fn jump(&self, host: &Address, forward: Duration) {
        self.change(host, |clock| clock.anchor_local = clock.anchor_local + forward);
    }

    /// All clocks run at the rate of true time again.
    pub fn calm(&self) {
        let hosts: Vec<_> = self.lock().hosts.keys().cloned().collect();
        hosts.iter().for_each(|host| self.drift(host, 0));
    }

    pub(crate) fn timer(&self, host: &Address) -> SimTimer {
        let mut state = self.lock();
        state.timers += 1;
        let number = state.timers;
        let (alarm, pulse) = Default::default();
        SimTimer { clocks: self.clone(), host: host.clone(), number, alarm, pulse }
    }

    fn change(&self, host: &Address, change: impl FnOnce(&mut Clock)) {
        if !self.lock().hosts.contains_key(host) {
            // A host has a clock before anything runs on it.
            self.boot(host);
        }
        let now = self.time.now();
        let mut state = self.lock();
        let changed = state.hosts.get_mut(host).expect("it was just looked at");
        changed.clock.anchor(now);
        change(&mut changed.clock);
        changed.sleepers.values().for_each(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A host's clock, and one alarm by it.
pub struct SimTimer {
    clocks: Clocks,
    host: Address,
    number: u64,
    alarm: Alarm,
    pulse: Pulse,
}

/// Notices a loop that never sleeps. Time would pass so slowly that its run takes hours.
#[derive(Debug, Default)]
struct Pulse {
    since: Time,
    polls: u32,
}

impl Pulse {
    const WINDOW: Duration = Duration::from_millis(50);
    /// A loop that is only busy is polled a hundredth as often.
    const MOST_POLLS: u32 = 100_000;

    fn beat(&mut self, now: Time, host: &Address) {
        if now.since(self.since) > Self::WINDOW {
            *self = Self { since: now, polls: 0 };
        }
        self.polls += 1;
        assert!(self.polls < Self::MOST_POLLS, "{host} spins: it is polled and never sleeps");
    }
}

impl Timer for SimTimer {
    fn now(&self) -> Time {
        let now = self.clocks.time.now();
        self.clocks.lock().hosts[&self.host].clock.local(now)
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Time>) -> Poll<()> {
        let now = self.clocks.time.now();
        self.pulse.beat(now, &self.host);
        let Some(deadline) = deadline else { return Poll::Pending };
        let mut state = self.clocks.lock();
        let host = state.hosts.get_mut(&self.host).expect("only a booted host has a clock");
        host.sleepers.remove(&self.number);
        if host.clock.local(now) >= deadline {
            return Poll::Ready(());
        }
        host.sleepers.insert(self.number, cx.waker().clone());
        self.alarm.set(&self.clocks.time, host.clock.true_time_of(deadline), cx);
        Poll::Pending
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        if let Some(host) = self.clocks.lock().hosts.get_mut(&self.host) {
            host.sleepers.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::run::simulate;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn local_and_true_time_convert_back_and_forth_at_any_rate() {
        for drift_ppm in [SLOWEST_PPM, -200_000, -1, 0, 1, 350_000] {
            let clock = Clock { anchor_true: Time(1_000), anchor_local: Time(77), drift_ppm };
            for deadline in [77, 78, 1_000, 123_456_789, 5_000_000_000] {
                let at = clock.true_time_of(Time(deadline));
                assert!(clock.local(at) >= Time(deadline), "{drift_ppm} ppm, {deadline}");
                assert!(
                    at == clock.anchor_true || clock.local(Time(at.0 - 1)) < Time(deadline),
                    "{drift_ppm} ppm: {deadline} is reached before {at:?}"
                );
            }
        }
    }

    /// Sleeps a second by the host's clock while `fault` strikes, and returns the true time taken.
    fn second_with(fault: impl FnOnce(&Clocks, &Address) + Send + 'static) -> Duration {
        simulate(1, HOUR, |world| async move {
            let (clocks, host) = (world.clocks().clone(), Address("a".into()));
            clocks.boot(&host);
            let mut timer = clocks.timer(&host);
            let (begun, deadline) = (clocks.time.now(), timer.now() + Duration::from_secs(1));
            let sleeper = madsim::task::spawn(async move {
                poll_fn(|cx| timer.poll_until(cx, Some(deadline))).await;
                assert!(timer.now() >= deadline);
            });
            madsim::time::sleep(Duration::from_millis(100)).await;
            fault(&clocks, &host);
            sleeper.await.expect("the sleeper ends");
            clocks.time.now().since(begun)
        })
    }

    #[test]
    fn the_rate_of_a_clock_outlives_boots() {
        simulate(1, HOUR, |world| async move {
            let (clocks, host) = (world.clocks().clone(), Address("a".into()));
            clocks.drift(&host, 500_000);
            clocks.boot(&host);
            let (timer, begun) = (clocks.timer(&host), clocks.time.now());
            let local = timer.now();
            madsim::time::sleep(Duration::from_secs(10)).await;
            let (elapsed, true_time) = (timer.now().since(local), clocks.time.now().since(begun));
            assert!(elapsed.abs_diff(true_time * 3 / 2) < Duration::from_micros(1));
        });
    }

    #[test]
    #[should_panic(expected = "a spins")]
    fn a_loop_that_never_sleeps_ends_its_run() {
        simulate(1, HOUR, |world| async move {
            let host = Address("a".into());
            world.clocks().boot(&host);
            let mut timer = world.clocks().timer(&host);
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                timer.poll_until(cx, None)
            })
            .await;
        });
    }

    #[test]
    fn alarms_follow_the_clock_of_their_host() {
        let about = |taken: Duration, millis: u64| {
            taken.abs_diff(Duration::from_millis(millis)) < Duration::from_millis(2)
        };
        assert!(about(second_with(|_, _| {}), 1_000));
        assert!(about(second_with(|clocks, host| clocks.drift(host, -500_000)), 1_900));
        assert!(about(second_with(|clocks, host| clocks.drift(host, 1_000_000)), 550));
        let leap = Duration::from_millis(600);
        assert!(about(second_with(move |clocks, host| clocks.jump(host, leap)), 400));
        assert!(about(second_with(|clocks, host| clocks.jump(host, HOUR)), 100));
    }
}
