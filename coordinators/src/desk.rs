//! Where a node's requests are taken, and its events handed out.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use waltz_core::io::CoordinatorEvent;
use waltz_core::wire::{FromCoordinator, ToCoordinator};

/// How long it is to the next attempt after a first failure, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What a node's port asks.
#[derive(Debug)]
pub(crate) enum Asked {
    Request(ToCoordinator),
    /// To be told once everything asked before has ended.
    Finish(oneshot::Sender<()>),
}

/// The port is gone: nobody asks any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Abandoned,
    Failed(String),
}

impl From<Abandoned> for Ended {
    fn from(_: Abandoned) -> Self {
        Self::Abandoned
    }
}

/// The other side of a port.
#[derive(Debug)]
pub(crate) struct Desk {
    asked: mpsc::UnboundedReceiver<Asked>,
    events: mpsc::Sender<CoordinatorEvent>,
}

/// An engine: how it is connected to, and how a node is served by it.
pub(crate) trait Backend: Send + 'static {
    /// A connection that was made.
    type Session: Send;

    /// Connects. Fails in bounded time.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Session, String>> + Send;

    /// Serves until that is not possible any more.
    fn serve(
        &mut self,
        session: Self::Session,
        desk: &mut Desk,
    ) -> impl Future<Output = Ended> + Send;
}

/// Serves a port until it is gone, session after session.
pub(crate) async fn run(mut backend: impl Backend, mut desk: Desk) {
    let (mut pause, longest) = PAUSES;
    let mut told = None;
    loop {
        let connected = tokio::select! {
            connected = backend.connect() => connected,
            Abandoned = desk.turn_away() => return,
        };
        let reason = match connected {
            Err(reason) => reason,
            Ok(session) => {
                (pause, told) = (PAUSES.0, None);
                if desk.begin().await.is_err() {
                    return;
                }
                match backend.serve(session, &mut desk).await {
                    Ended::Abandoned => return,
                    Ended::Failed(reason) => reason,
                }
            }
        };
        // What fails again in the same way is told once.
        if told.as_ref() != Some(&reason) {
            told = Some(reason.clone());
            if desk.tell(CoordinatorEvent::Lost { reason }).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (2 * pause).min(longest),
            Abandoned = desk.turn_away() => return,
        }
    }
}

impl Desk {
    pub(crate) fn new(
        asked: mpsc::UnboundedReceiver<Asked>,
        events: mpsc::Sender<CoordinatorEvent>,
    ) -> Self {
        Self { asked, events }
    }

    /// The next request of the session.
    pub(crate) async fn next(&mut self) -> Result<Asked, Abandoned> {
        self.asked.recv().await.ok_or(Abandoned)
    }

    pub(crate) async fn answer(&self, answer: FromCoordinator) -> Result<(), Abandoned> {
        self.tell(CoordinatorEvent::Message(answer)).await
    }

    async fn tell(&self, event: CoordinatorEvent) -> Result<(), Abandoned> {
        self.events.send(event).await.map_err(|_| Abandoned)
    }

    /// Begins a session: what was asked of the one before is not answered any more.
    async fn begin(&mut self) -> Result<(), Abandoned> {
        while let Ok(asked) = self.asked.try_recv() {
            drop_asked(asked);
        }
        self.tell(CoordinatorEvent::Connected).await
    }

    /// Answers nothing while there is no session; ends when the port is gone.
    async fn turn_away(&mut self) -> Abandoned {
        while let Some(asked) = self.asked.recv().await {
            drop_asked(asked);
        }
        Abandoned
    }
}

fn drop_asked(asked: Asked) {
    if let Asked::Finish(done) = asked {
        // Whoever asked may be gone.
        let _ = done.send(());
    }
}
