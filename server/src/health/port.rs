//! The way from the endpoint's thread to the node's loop and back.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use waltz_core::measure::Measurements;
use waltz_runtime::Observer;

/// The most questions on their way: those of a loop that hangs are refused at once then.
const QUESTIONS: usize = 16;

type Answer = oneshot::Sender<Measurements>;

/// Two ends: who is asked, and who asks and waits at most this long for an answer.
pub fn observer(patience: Duration) -> (ObserverPort, Watcher) {
    let (ask, asked) = mpsc::channel(QUESTIONS);
    (ObserverPort { asked }, Watcher { ask, patience })
}

/// The loop's end.
#[derive(Debug)]
pub struct ObserverPort {
    asked: mpsc::Receiver<Answer>,
}

impl Observer for ObserverPort {
    fn poll(&mut self, cx: &mut Context<'_>, measure: &dyn Fn() -> Measurements) {
        while let Poll::Ready(Some(answer)) = self.asked.poll_recv(cx) {
            if !answer.is_closed() {
                // Whoever asked may have given up meanwhile.
                let _ = answer.send(measure());
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// None came in time.
    #[error("the node's loop did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// There is no loop any more.
    #[error("the node's loop has ended")]
    Ended,
}

/// The asking end.
#[derive(Debug, Clone)]
pub struct Watcher {
    ask: mpsc::Sender<Answer>,
    patience: Duration,
}

impl Watcher {
    /// What the node says of itself now.
    ///
    /// # Errors
    /// When its loop does not answer in time, or has ended.
    pub async fn measure(&self) -> Result<Measurements, Silent> {
        let (answer, answered) = oneshot::channel();
        match self.ask.try_send(answer) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(Silent::Late(self.patience)),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Silent::Ended),
        }
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Ok(measurements)) => Ok(measurements),
            Ok(Err(_)) => Err(Silent::Ended),
            Err(_) => Err(Silent::Late(self.patience)),
        }
    }
}
