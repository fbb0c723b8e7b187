//! When to try again what a database failed at.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::database::SqlDatabase;
use crate::error::SqlError;
use crate::marks::MarkError;

/// A lock that another instance held is free now, so the second try comes at once; pauses begin
/// with the third.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The tries of one piece of work.
#[derive(Debug)]
pub(crate) struct Backoff {
    patience: Duration,
    failing_since: Option<Instant>,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, failing_since: None, failures: 0 }
    }

    /// It succeeded in part.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.patience);
    }

    /// Waits before the next try; `false` if there shall be none.
    pub(crate) async fn failed(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.failing_since.get_or_insert(now);
        if now.duration_since(since) >= self.patience {
            return false;
        }
        self.failures += 1;
        if let Some(pause) = longest_pause(self.failures) {
            sleep(pause.mul_f64(0.5 + random_fraction() / 2.0)).await;
        }
        true
    }
}

impl Backoff {
    /// Waits before the next try of something idempotent, unless there shall be none.
    pub(crate) async fn failed_with<DB: SqlDatabase>(
        &mut self,
        action: &'static str,
        error: MarkError,
    ) -> Result<(), SqlError> {
        let source = match error {
            MarkError::Certain(error) => return Err(error),
            MarkError::Database(source) => source,
        };
        if !DB::is_transient(&source) {
            return Err(SqlError::Database { action, source });
        }
        if self.failed().await {
            return Ok(());
        }
        Err(SqlError::Unavailable { patience: self.patience, reason: source.to_string() })
    }
}

/// The pause after so many failures, before chance makes it shorter.
fn longest_pause(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?;
    let pause = FIRST_PAUSE.checked_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    Some(pause.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE)))
}

/// Between 0 and 1, so that instances that failed together don't fail together again. A system
/// without randomness has other worries; its instances pause alike.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        assert_eq!(longest_pause(1), None);
        assert_eq!(longest_pause(2), Some(FIRST_PAUSE));
        assert_eq!(longest_pause(4), Some(4 * FIRST_PAUSE));
        for failures in [20, 33, 34, u32::MAX] {
            assert_eq!(longest_pause(failures), Some(LONGEST_PAUSE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        let start = Instant::now();
        while backoff.failed().await {}
        let tried = start.elapsed();
        assert!((10..=11).contains(&tried.as_secs()), "{tried:?}");
        backoff.reset();
        assert!(backoff.failed().await);
    }
}
