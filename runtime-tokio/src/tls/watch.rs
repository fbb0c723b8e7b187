//! Looks at the files now and then, so that certificates are renewed without a restart.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use super::{Tls, TlsError};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

impl Tls {
    /// Looks at the files every few seconds, for as long as anyone else holds this, and logs what
    /// came of it.
    pub fn keep_watch(&self, runtime: &Handle) {
        let shared = Arc::downgrade(&self.shared);
        let blocking = runtime.clone();
        runtime.spawn(async move {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut complaint = None;
            loop {
                looks.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                let tls = Self { shared };
                let Ok(looked) = blocking.spawn_blocking(move || tls.reload()).await else {
                    return; // The runtime is being shut down.
                };
                complaint = tell(looked, complaint);
            }
        });
    }
}

/// Logs what a look has shown, unless that was logged before; the complaint that still stands.
fn tell(looked: Result<bool, TlsError>, complaint: Option<String>) -> Option<String> {
    match looked {
        Ok(false) => None,
        Ok(true) => {
            tracing::info!("new certificates are in use");
            None
        }
        Err(error) => {
            let text = error.in_one_line();
            if complaint.as_ref() != Some(&text) {
                tracing::error!("new certificates can't be used, the former stay in use: {text}");
            }
            Some(text)
        }
    }
}
