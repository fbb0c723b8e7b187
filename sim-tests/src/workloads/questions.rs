//! What became of operations that ended in doubt: asked beside the work, of whatever client the
//! instance has by then.

use tokio::sync::{mpsc, oneshot};
use waltz_client::{ClientError, InDoubt};

use super::succession::Succession;
use crate::operations::{Number, Operations};

/// How many clients are asked at most.
const MOST_CLIENTS: usize = 20;

enum Message {
    Ask(Number, InDoubt),
    /// Whoever waits is told when everything asked before is answered.
    Settle(oneshot::Sender<()>),
}

/// Takes the questions of one instance; clones share it.
#[derive(Clone)]
pub(super) struct Questions(mpsc::UnboundedSender<Message>);

impl Questions {
    /// Begins to ask the client that there is at each time.
    pub(super) fn start(operations: Operations, clients: Succession) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        drop(madsim::task::spawn(answer_all(messages, operations, clients)));
        Self(sender)
    }

    /// An operation ended in doubt.
    pub(super) fn ask(&self, number: Number, in_doubt: InDoubt) {
        // Nobody asks any more when the run is over.
        let _ = self.0.send(Message::Ask(number, in_doubt));
    }

    /// Waits until everything asked before is answered.
    pub(super) async fn settle(&self) {
        let (sender, settled) = oneshot::channel();
        // Nobody asks any more when the run is over.
        let _ = self.0.send(Message::Settle(sender));
        let _ = settled.await;
    }
}

async fn answer_all(
    mut messages: mpsc::UnboundedReceiver<Message>,
    operations: Operations,
    clients: Succession,
) {
    let mut asking = Vec::new();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Ask(number, in_doubt) => {
                let answer = answer(operations.clone(), clients.clone(), number, in_doubt);
                asking.push(madsim::task::spawn(answer));
            }
            Message::Settle(settled) => {
                for question in asking.drain(..) {
                    question.await.expect("a question ends");
                }
                // Whoever settles may not wait any more.
                let _ = settled.send(());
            }
        }
    }
}

/// Asks until a client answers: one that is closed or killed meanwhile has a successor.
async fn answer(operations: Operations, clients: Succession, number: Number, in_doubt: InDoubt) {
    let (mut resolution, mut living) = (None, clients.now());
    for _ in 0..MOST_CLIENTS {
        match living.client.outcome_of(&in_doubt).await {
            Ok(answer) => {
                resolution = Some(answer);
                break;
            }
            Err(ClientError::Closed) => living = clients.after(living.life).await,
            // What the answer needs is gone.
            Err(ClientError::Trimmed { .. }) => break,
            Err(error) => {
                let text = format_args!("ended in doubt and can't be asked about: {error}");
                operations.contradict(number, text);
                break;
            }
        }
    }
    operations.resolve(number, resolution);
}
