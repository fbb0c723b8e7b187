//! What all servers have in common: a directory, and a process that comes and goes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::error::ServerError;
use crate::process::ServerProcess;

/// A server's process; none while it is killed.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<ServerProcess>>);

impl Running {
    pub(crate) fn kill(&self) -> Result<(), ServerError> {
        self.process().take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Kills it if it runs, and has another take its place.
    pub(crate) fn restart(
        &self,
        start: impl FnOnce() -> Result<ServerProcess, ServerError>,
    ) -> Result<(), ServerError> {
        self.kill()?;
        *self.process() = Some(start()?);
        Ok(())
    }

    /// Signals it if it runs.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        self.process().as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    fn process(&self) -> MutexGuard<'_, Option<ServerProcess>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory that is deleted with its server.
pub(crate) fn directory() -> Result<TempDir, ServerError> {
    tempfile::Builder::new()
        .prefix("waltz-")
        .tempdir()
        .map_err(ServerError::system("make a directory for a server"))
}
