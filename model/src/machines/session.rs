//! One session, driven.

use waltz_core::id::{NodeId, SessionId, SetVersion};
use waltz_core::limits::Limits;
use waltz_core::log::SetChange;
use waltz_core::planted::Planted;
use waltz_core::record::RecordView;
use waltz_core::sequencer::{Outputs, Sequencer, SequencerConfig, SequencerOutput};
use waltz_core::time::Time;
use waltz_core::transcript::{output_text, short};
use waltz_core::wire::Version;

use super::{Answer, CREATION, PARTITION, Request, record, replica_set, session_id};
use crate::shared::{Machine, Shared};

/// What can happen to a session.
#[derive(Debug, Clone, Hash)]
pub(crate) enum SessionOperation {
    /// A node can be reached, over a new connection.
    Reachable(NodeId),
    /// The connection to a node is gone.
    Unreachable(NodeId),
    /// A node answers.
    Answer(NodeId, Shared<Answer>),
    /// A record is numbered and sent.
    Append,
    /// A quorum round begins.
    Confirm,
    /// Time passes, up to what it waits for. Every other step is at time zero: what comes next
    /// counts from its own beginning.
    Wait,
}

/// Something a session says to its server.
#[derive(Debug)]
pub(crate) enum Said {
    /// A quorum has joined.
    Opened { prefix: usize },
    /// Records are committed.
    Committed { session: SessionId, first: usize, end: usize },
    /// A quorum confirmed the session.
    Confirmed { committed: usize },
    /// It can't go on: fenced, or because the disks contradict each other, or else.
    Over { fenced: bool, is_contradiction: bool },
    /// What no promise speaks of.
    Other,
}

/// What comes of a step of a session.
#[derive(Debug, Default)]
pub(crate) struct SessionStep {
    /// Requests, and to whom they go.
    pub(crate) requests: Vec<(NodeId, Shared<Request>)>,
    /// What it says, and in words.
    pub(crate) said: Vec<(Said, String)>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    sequencer: Sequencer,
    is_over: bool,
}

impl Session {
    /// The session of an epoch; it has asked nobody yet.
    pub(crate) fn new(epoch: u64, planted: Planted) -> Self {
        let id = session_id(epoch);
        let config =
            SequencerConfig { planted, ..SequencerConfig::new(id.server, Limits::default()) };
        let sequencer = Sequencer::new(
            config.into(),
            PARTITION,
            CREATION,
            id,
            SetChange::initial(SetVersion::FIRST, replica_set()),
        );
        Self { sequencer, is_over: false }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.sequencer.session()
    }

    /// Its name in transcripts.
    pub(crate) fn name(&self) -> String {
        short(&self.id())
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.is_over && self.sequencer.is_open()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it waits for some time to pass.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.is_over && self.sequencer.deadline().is_some()
    }

    fn step(&mut self, step: impl FnOnce(&mut Sequencer, &mut Outputs)) -> SessionStep {
        let mut outputs = Outputs::new();
        step(&mut self.sequencer, &mut outputs);
        let mut came = SessionStep::default();
        for output in outputs {
            let said = match output {
                SequencerOutput::ToReplica { node, request: message, payload } => {
                    came.requests.push((node, Shared::new(Request { message, payload })));
                    continue;
                }
                SequencerOutput::Opened { committed } => {
                    Said::Opened { prefix: committed.count() as usize }
                }
                SequencerOutput::Committed(ref run) => {
                    let (first, end) = (run.first.0 as usize, run.last().count() as usize);
                    Said::Committed { session: run.session, first, end }
                }
                SequencerOutput::Confirmed { committed, .. } => {
                    Said::Confirmed { committed: committed.count() as usize }
                }
                SequencerOutput::Over { promise, ref reason } => {
                    self.is_over = true;
                    let is_contradiction = reason.contains("compare the two disks");
                    Said::Over { fenced: promise.is_some(), is_contradiction }
                }
                _ => Said::Other,
            };
            came.said.push((said, output_text(&output)));
        }
        came
    }
}

impl Machine for Session {
    type Operation = SessionOperation;
    type Step = SessionStep;

    fn apply(&mut self, operation: SessionOperation) -> SessionStep {
        match operation {
            SessionOperation::Reachable(node) => {
                self.step(|s, outputs| s.on_reachable(node, Version::NEWEST, outputs))
            }
            SessionOperation::Unreachable(node) => {
                self.step(|sequencer, outputs| sequencer.on_unreachable(Time::ZERO, node, outputs))
            }
            SessionOperation::Answer(node, answer) => {
                let Answer { answer, payload } = (*answer).clone();
                self.step(|sequencer, outputs| {
                    sequencer.on_answer(Time::ZERO, node, answer, payload, outputs);
                })
            }
            SessionOperation::Append => {
                let bytes = record(self.id(), self.sequencer.sequenced().next());
                self.step(|sequencer, outputs| {
                    let parsed = RecordView::parse(&bytes, &Limits::default());
                    sequencer.append(&parsed.expect("just encoded").0, outputs);
                    sequencer.flush(outputs);
                })
            }
            SessionOperation::Confirm => {
                self.step(|sequencer, outputs| sequencer.confirm(1, outputs))
            }
            SessionOperation::Wait => {
                let now = self.sequencer.deadline().expect("it waits for some time");
                self.step(|sequencer, outputs| sequencer.on_timer(now, outputs))
            }
        }
    }
}
