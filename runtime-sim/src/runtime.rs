//! What a client needs of a runtime, on one simulated host.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use waltz_core::time::Random;
use waltz_runtime::Runtime;

use crate::clock::SimTimer;
use crate::fault::{Chance, Latency};
use crate::network::SimNet;
use crate::world::SimHost;

/// A runtime whose tasks, connections and clock are those of one life of one host.
#[derive(Clone)]
pub struct SimRuntime {
    host: SimHost,
    random: Arc<Mutex<Random>>,
}

impl SimRuntime {
    pub(crate) fn new(host: SimHost, random: Random) -> Self {
        Self { host, random: Arc::new(Mutex::new(random)) }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runtime for SimRuntime {
    type Net = SimNet;
    type Timer = SimTimer;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(madsim::task::spawn(task));
    }

    fn net(&self) -> SimNet {
        self.host.dialer()
    }

    fn timer(&self) -> SimTimer {
        self.host.timer()
    }

    fn random(&self) -> u64 {
        self.draw(Random::bits)
    }

    /// Runs in place, now and then after a delay: on another thread it would take time too.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let delay = self.draw(|random| {
            Chance::percent(25).strikes(random).then(|| Latency::micros(1_000, 5_000).draw(random))
        });
        if let Some(delay) = delay {
            madsim::time::sleep(delay).await;
        }
        work()
    }
}
