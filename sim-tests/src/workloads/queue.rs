//! Work that is spread over the storm and taken by whichever worker is free.

use std::sync::Arc;

use madsim::task::JoinHandle;
use madsim::time::sleep;
use tokio::sync::{Mutex, mpsc};

use crate::plan::Plan;

/// What the workers of a run share: what is to be done next.
pub(super) struct Queue<T>(Arc<Mutex<mpsc::Receiver<T>>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Queue<T> {
    /// A queue that holds one thing until a worker takes it, and the way into it.
    pub(super) fn new() -> (mpsc::Sender<T>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    /// The next thing to do; none when there is nothing more.
    pub(super) async fn next(&self) -> Option<T> {
        self.0.lock().await.recv().await
    }
}

/// Hands the work out over the storm, evenly, and waits until the workers have done it. It ends
/// early when there is no worker left.
pub(super) async fn spread<T>(
    plan: &Plan,
    work: impl Iterator<Item = T>,
    sender: mpsc::Sender<T>,
    workers: Vec<JoinHandle<()>>,
) {
    let pause = plan.storm / u32::try_from(plan.operations).expect("a plan is small");
    for one in work {
        sleep(pause).await;
        if sender.send(one).await.is_err() {
            break;
        }
    }
    drop(sender);
    for worker in workers {
        worker.await.expect("a worker ends");
    }
}
