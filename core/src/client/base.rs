//! What every part of the client's machine has at hand during a step.

use std::time::Duration;

use bytes::Bytes;

use crate::id::{ClientId, ClusterKey, PartitionId};
use crate::io::{ConnectionId, Level, Report};
use crate::time::{Random, Time};
use crate::wire::{ClientRequest, Message, TooLong, Version};

use super::call::{Answer, CallId, Ending, Unanswered};
use super::config::ClientConfig;
use super::io::ClientEffect;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) id: ClientId,
    pub(super) config: ClientConfig,
    /// The one configured, or the one first met: no other is talked to.
    pub(super) cluster: Option<ClusterKey>,
    pub(super) random: Random,
    /// The time of this step.
    pub(super) now: Time,
    /// The caller's buffer during a step, empty between steps.
    pub(super) effects: Vec<ClientEffect>,
    /// The one alarm: the earliest time anything here waits for. Early is harmless, every wait is
    /// looked at when it rings.
    alarm: Option<Time>,
}

impl Base {
    pub(super) fn new(id: ClientId, config: ClientConfig, seed: u64) -> Self {
        let (random, cluster) = (Random::new(seed), config.cluster);
        Self { id, config, cluster, random, now: Time::ZERO, effects: Vec::new(), alarm: None }
    }

    pub(super) fn push(&mut self, effect: ClientEffect) {
        self.effects.push(effect);
    }

    pub(super) fn send(&mut self, conn: ConnectionId, message: &Message) {
        self.push(ClientEffect::Send { conn, frame: message.frame() });
    }

    /// Asks something that may be long, in the version agreed on.
    pub(super) fn ask_in(
        &mut self,
        conn: ConnectionId,
        agreed: Version,
        request: ClientRequest,
    ) -> Result<(), TooLong> {
        let frame = Message::Client(request).framed(Bytes::new(), agreed)?;
        self.push(ClientEffect::Send { conn, frame });
        Ok(())
    }

    pub(super) fn ask(&mut self, conn: ConnectionId, request: ClientRequest) {
        self.send(conn, &Message::Client(request));
    }

    pub(super) fn end(&mut self, call: CallId, ending: Ending) {
        self.push(ClientEffect::End { call, ending });
    }

    pub(super) fn answer(&mut self, call: CallId, answer: Result<Answer, Unanswered>) {
        self.push(ClientEffect::Answer { call, answer });
    }

    pub(super) fn report(&mut self, level: Level, partition: Option<PartitionId>, text: String) {
        self.push(ClientEffect::Report(Report { level, partition, peer: None, text }));
    }

    /// Sees to it that the timer rings no later than `time`.
    pub(super) fn wake_by(&mut self, time: Time) {
        if self.alarm.is_none_or(|alarm| time < alarm) {
            self.alarm = Some(time);
            self.push(ClientEffect::WakeAt(time));
        }
    }

    /// How long to wait after so many failures before: `first` doubles with each of them, up to
    /// `longest`; up to a half of it is left out, so that not everyone comes back at once.
    pub(super) fn pause_after(
        &mut self,
        failures: u32,
        first: Duration,
        longest: Duration,
    ) -> Duration {
        let pause = (first * (1 << failures.min(8))).min(longest);
        self.random.between(pause / 2, pause)
    }

    /// The alarm rang.
    pub(super) fn rang(&mut self) {
        self.alarm = None;
    }
}
