//! The clients of an instance, one after the other: each ends before the next one starts.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use waltz_client::Client;

use crate::operations::Life;

/// A client, and which life it is.
#[derive(Debug, Clone)]
pub(super) struct Living {
    pub(super) client: Client,
    pub(super) life: Life,
}

/// The client that an instance has now; clones share it.
#[derive(Clone)]
pub(super) struct Succession(Arc<State>);

struct State {
    living: Mutex<Living>,
    succeeded: Notify,
}

impl Succession {
    pub(super) fn new(first: Living) -> Self {
        Self(Arc::new(State { living: Mutex::new(first), succeeded: Notify::new() }))
    }

    /// The client of now, which may have ended.
    pub(super) fn now(&self) -> Living {
        self.lock().clone()
    }

    /// Another client takes its place.
    pub(super) fn succeed(&self, next: Living) {
        *self.lock() = next;
        self.0.succeeded.notify_waiters();
    }

    /// The client of now, once that is another one than this.
    pub(super) async fn after(&self, life: Life) -> Living {
        loop {
            let mut succeeded = pin!(self.0.succeeded.notified());
            // From here on no successor is missed.
            succeeded.as_mut().enable();
            let living = self.now();
            if living.life != life {
                return living;
            }
            succeeded.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Living> {
        self.0.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
