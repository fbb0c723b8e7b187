//! A node that asks one thing after the other, over a connection that may be lost.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use waltz_coordinators::{CoordinatorAddress, Port};
use waltz_core::coordinator::{LeaseId, Revision, Versioned};
use waltz_core::io::CoordinatorEvent;
use waltz_core::wire::{FromCoordinator, ToCoordinator};
use waltz_runtime::CoordinatorPort;

/// How long anything may take that takes no time by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a node prolongs its lease while it waits.
const KEEP_ALIVE_EVERY: Duration = Duration::from_millis(500);

pub(crate) struct Node {
    port: Port,
    events: Vec<CoordinatorEvent>,
    last_request: u64,
}

impl Node {
    /// A node that is connected.
    pub(crate) async fn open(address: &CoordinatorAddress) -> Self {
        let mut node = Self::new(Port::connect(address, "faults"));
        node.connected().await;
        node
    }

    /// A node that may be connected some time.
    pub(crate) fn new(port: Port) -> Self {
        Self { port, events: Vec::new(), last_request: 0 }
    }

    /// Why it is not connected, or not for long once it asks for a key.
    pub(crate) async fn refused(&mut self, key: &str) -> String {
        let refused = async {
            loop {
                let request = self.number();
                self.port.ask(ToCoordinator::Get { request, key: key.to_owned() });
                let is_lost = |event: &CoordinatorEvent| match event {
                    CoordinatorEvent::Lost { reason } => Some(reason.clone()),
                    _ => None,
                };
                if let Ok(reason) = timeout(KEEP_ALIVE_EVERY, self.next(is_lost)).await {
                    return reason;
                }
            }
        };
        timeout(PATIENCE, refused).await.expect("it is refused")
    }

    pub(crate) async fn connected(&mut self) {
        self.take(|event| matches!(event, CoordinatorEvent::Connected).then_some(())).await;
    }

    /// Waits until the connection is lost; a node notices it at the latest when it prolongs its lease.
    pub(crate) async fn lost_while_kept_alive(&mut self, lease: LeaseId, ttl: Duration) {
        let lost = async {
            loop {
                self.ask_to_keep_alive(lease, ttl);
                let is_lost = |event: &CoordinatorEvent| {
                    matches!(event, CoordinatorEvent::Lost { .. }).then_some(())
                };
                if timeout(KEEP_ALIVE_EVERY, self.next(is_lost)).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, lost).await.expect("the connection is lost");
    }

    pub(crate) async fn keep_alive(&mut self, lease: LeaseId, ttl: Duration) {
        self.ask_to_keep_alive(lease, ttl);
        self.told(|told| matches!(told, FromCoordinator::Alive { .. }).then_some(())).await;
    }

    /// Writes a key; `Err`: what there is instead.
    pub(crate) async fn set(
        &mut self,
        key: &str,
        expected: Option<Revision>,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Option<Versioned>> {
        let (number, key) = (self.number(), key.to_owned());
        let value = Some(Bytes::from_static(b"value"));
        let set = ToCoordinator::CompareAndSet { request: number, key, expected, value, lease };
        self.port.ask(set);
        self.told(|told| match told {
            FromCoordinator::Set { request, revision } if *request == number => Some(Ok(*revision)),
            FromCoordinator::Conflict { request, current } if *request == number => {
                Some(Err(current.clone()))
            }
            _ => None,
        })
        .await
    }

    /// The revision of a key; `None`: there is none.
    pub(crate) async fn revision(&mut self, key: &str) -> Option<Revision> {
        let number = self.number();
        self.port.ask(ToCoordinator::Get { request: number, key: key.to_owned() });
        self.told(|told| match told {
            FromCoordinator::Value { request, current } if *request == number => {
                Some(current.as_ref().map(|current| current.revision))
            }
            _ => None,
        })
        .await
    }

    /// Watches a key; whether it is there.
    pub(crate) async fn watch(&mut self, key: &str) -> bool {
        self.port.ask(ToCoordinator::Watch { prefix: key.to_owned() });
        self.told(|told| match told {
            FromCoordinator::Snapshot { entries, .. } => Some(!entries.is_empty()),
            _ => None,
        })
        .await
    }

    /// Waits until it is told that a key is gone.
    pub(crate) async fn gone(&mut self, key: &str) {
        self.told(|told| match told {
            FromCoordinator::Changed { key: of, current: None } if of == key => Some(()),
            _ => None,
        })
        .await;
    }

    fn ask_to_keep_alive(&mut self, lease: LeaseId, ttl: Duration) {
        let ttl_ms = ttl.as_millis().try_into().expect("a lease is short");
        self.port.ask(ToCoordinator::KeepAlive { lease, ttl_ms });
    }

    fn number(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    async fn told<T>(&mut self, wanted: impl Fn(&FromCoordinator) -> Option<T>) -> T {
        self.take(|event| match event {
            CoordinatorEvent::Message(told) => wanted(told),
            _ => None,
        })
        .await
    }

    async fn take<T>(&mut self, wanted: impl Fn(&CoordinatorEvent) -> Option<T>) -> T {
        timeout(PATIENCE, self.next(wanted)).await.expect("it comes in time")
    }

    /// Takes everything up to the first event that is wanted.
    async fn next<T>(&mut self, wanted: impl Fn(&CoordinatorEvent) -> Option<T>) -> T {
        loop {
            while !self.events.is_empty() {
                if let Some(found) = wanted(&self.events.remove(0)) {
                    return found;
                }
            }
            poll_fn(|cx| self.port.poll(cx, &mut self.events)).await;
        }
    }
}
