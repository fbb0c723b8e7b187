//! What the client needs of tokio.

use std::future::Future;

use tokio::runtime::Handle;
use waltz_core::tls::TlsFiles;
use waltz_runtime::Runtime;

use crate::net::{NetConfig, TcpNet};
use crate::timer::TokioTimer;
use crate::tls::{ClientCertificates, Tls};

/// A tokio runtime, of either flavour, with I/O and time enabled.
#[derive(Debug, Clone)]
pub struct TokioRuntime {
    handle: Handle,
    net: NetConfig,
}

impl TokioRuntime {
    /// The runtime this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Self {
        Self::new(Handle::current(), NetConfig::default())
    }

    /// A runtime by its handle, and how its connections behave.
    pub fn new(handle: Handle, net: NetConfig) -> Self {
        Self { handle, net }
    }
}

impl Runtime for TokioRuntime {
    type Net = TcpNet;
    type Timer = TokioTimer;

    fn secured(mut self, files: &TlsFiles) -> Result<Self, String> {
        let tls = Tls::load(files.clone(), ClientCertificates::default());
        let tls = tls.map_err(|error| error.in_one_line())?;
        tls.keep_watch(&self.handle);
        self.net.tls = Some(tls);
        Ok(self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    fn net(&self) -> TcpNet {
        TcpNet::dialing(self.net.clone())
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    fn random(&self) -> u64 {
        random()
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.handle.spawn_blocking(work).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// 64 bits from the operating system.
///
/// # Panics
/// When the operating system has none to give: nothing that needs a nonce is safe then.
pub fn random() -> u64 {
    getrandom::u64().expect("the operating system provides random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocking_work_returns_its_output_and_its_panic() {
        let runtime = TokioRuntime::current();
        assert_eq!(runtime.blocking(|| 7).await, 7);
        let failing = runtime.clone();
        let panicked = tokio::spawn(async move { failing.blocking(|| panic!("on purpose")).await });
        assert!(panicked.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn random_numbers_differ() {
        let runtime = TokioRuntime::current();
        assert_ne!(runtime.random(), runtime.random());
    }
}
