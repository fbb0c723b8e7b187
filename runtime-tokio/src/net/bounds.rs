//! What connections are bound by that others have dialled, until the node knows that a node of the
//! cluster is at the other end: how fast they are read, and how much they hold of what is not whole.
//!
//! A connection over its rate is not read until it is due again, so that its peer has to wait.
//! Nothing of what it sends is refused or lost.
//!
//! # Frames that are not whole
//!
//! A connection holds [`ALLOWANCE_BYTES`] of its own. A longer frame takes room for all of itself out
//! of what all connections share ([`FrameRoom`]) before any more of it is read, and gives it back
//! when the loop's inbox has the frame, or with the connection. So connections hold no more than the
//! allowance each and the room once; a frame longer than the whole room takes all of it, alone.
//!
//! Why that goes on for ever: who has room needs nothing that another one holds, only the rest of its
//! frame from its peer and a place in the inbox, which the loop empties in every turn. A peer that
//! does not send the rest has completed no frame meanwhile, so the node's links close it as silent
//! (`LinkConfig::give_up_after`), and its room is free. Who waits for room does so in a queue, so it
//! gets its turn. Frames within the allowance, and nodes of the cluster, never wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};
use waltz_core::rate::{Meter, Rates};
use waltz_core::time::Time;

/// What a connection may hold without asking for room.
pub(super) const ALLOWANCE_BYTES: usize = 32 << 10;

/// Room for frames that are longer than the allowance, shared by all connections.
#[derive(Debug)]
pub(super) struct FrameRoom {
    bytes: u32,
    free: Arc<Semaphore>,
}

impl FrameRoom {
    pub(super) fn new(bytes: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let bytes = bytes.clamp(1, most);
        Self { bytes: bytes as u32, free: Arc::new(Semaphore::new(bytes)) }
    }

    /// Waits for room; in order, so that a long frame gets some, too.
    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes);
        let taken = self.free.clone().acquire_many_owned(bytes).await;
        taken.expect("nobody closes the semaphore")
    }

    /// How much of it is taken.
    #[cfg(test)]
    pub(super) fn taken_bytes(&self) -> usize {
        self.bytes as usize - self.free.available_permits()
    }
}

/// What one connection is bound by.
#[derive(Debug)]
pub(super) struct Bounds {
    /// None if it may be as fast as it can.
    meter: Option<Meter>,
    /// The origin of the meter's time.
    since: Instant,
    room: Arc<FrameRoom>,
    /// What it has of that, for the frame that it brings.
    taken: Option<OwnedSemaphorePermit>,
    lifted: watch::Receiver<bool>,
}

impl Bounds {
    pub(super) fn new(rates: Rates, room: Arc<FrameRoom>, lifted: watch::Receiver<bool>) -> Self {
        let meter = (rates != Rates::default()).then(|| Meter::new(rates));
        Self { meter, since: Instant::now(), room, taken: None, lifted }
    }

    /// Whether it is bound no longer.
    pub(super) fn are_lifted(&self) -> bool {
        *self.lifted.borrow()
    }

    /// How long it has to wait before the next frame.
    pub(super) fn wait(&self) -> Duration {
        let wait = |meter: &Meter| meter.ready_at().since(self.now());
        self.meter.as_ref().map_or(Duration::ZERO, wait)
    }

    /// Waits until it is due for the next frame, or bound no longer.
    pub(super) async fn due(&mut self) {
        let wait = self.wait();
        if !wait.is_zero() {
            unless_lifted(&mut self.lifted, sleep(wait)).await;
        }
    }

    /// A frame came that is about to be left for the loop.
    pub(super) fn on_frame(&mut self, bytes: usize) {
        let now = self.now();
        if let Some(meter) = &mut self.meter {
            meter.on_frame(now, bytes as u64);
        }
    }

    /// Waits until it may hold a frame of this length, or is bound no longer.
    pub(super) async fn make_room(&mut self, bytes: usize) {
        if self.taken.is_none() {
            self.taken = unless_lifted(&mut self.lifted, self.room.take(bytes)).await;
        }
    }

    /// It holds nothing to speak of any more.
    pub(super) fn release_room(&mut self) {
        self.taken = None;
    }

    fn now(&self) -> Time {
        Time::ZERO + self.since.elapsed()
    }
}

/// What comes of waiting, unless the bounds are lifted meanwhile, or the loop lets go of the
/// connection: then its task is about to end.
async fn unless_lifted<T>(
    lifted: &mut watch::Receiver<bool>,
    waited: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        _ = lifted.wait_for(|is_lifted| *is_lifted) => None,
        outcome = waited => Some(outcome),
    }
}
