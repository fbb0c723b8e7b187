//! A node alone with a journal that never fails, recorded and replayed.

use std::collections::VecDeque;
use std::time::Duration;

use super::replay::Part;
use super::*;
use crate::id::{ClusterKey, NodeId, StorageId};
use crate::io::{Address, ConnectionId};
use crate::limits::Limits;
use crate::membership::ControllerConfig;
use crate::node::{CoordinatorAt, NodeConfig, Recovered};
use crate::planted::Planted;

struct Host {
    node: Node,
    recorder: Recorder,
    now: Time,
    inputs: VecDeque<Input>,
}

impl Host {
    fn new(generation_bytes: usize) -> Self {
        let coordinator = CoordinatorAt::Here(ControllerConfig::new(2, 1, 1).unwrap());
        let address = Address("alone".into());
        let config = NodeConfig::new(NodeId(1), ClusterKey(7), address, coordinator);
        let recovered = Recovered::new(Limits::default(), Planted::NONE);
        let node = Node::new(config, recovered, StorageId(1), 1);
        let recorder = Recorder::new(&node, generation_bytes);
        Self { node, recorder, now: Time(1), inputs: [Input::Timer].into() }
    }

    /// Takes turns, one each 100 ms: the alarm, and whatever became durable.
    fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            self.now = self.now + Duration::from_millis(100);
            self.inputs.extend([Input::Timer, Input::EndOfTurn]);
            let mut effects = Vec::new();
            for input in std::mem::take(&mut self.inputs) {
                self.recorder.step(&mut self.node, self.now, input, &mut effects);
            }
            let appended = effects.iter().filter_map(|effect| match effect {
                Effect::Append { ticket, .. } => Some(*ticket),
                _ => None,
            });
            let durable = appended.last().map(|up_to| Input::Durable { up_to, places: Vec::new() });
            self.inputs.extend(durable);
        }
    }

    fn recording(&self) -> Recording {
        Recording::decode(&self.recorder.encode(Some(&self.node))).unwrap()
    }
}

fn states(played: &[Played]) -> usize {
    played.iter().filter(|played| matches!(played, Played::State { .. })).count()
}

#[test]
fn a_replay_has_the_same_effects_and_comes_to_the_same_state() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(200);
    let recording = host.recording();
    assert_eq!((recording.first(), recording.len()), (0, host.recorder.newer.steps.len()));
    let mut replay = recording.replay();
    let played: Vec<_> = replay.by_ref().collect();
    assert!(!played.iter().any(Played::differs));
    assert_eq!(states(&played), 1, "the end, and nothing between");
    assert_eq!(*replay.node(), host.node);
    let effects = played.iter().map(|played| match played {
        Played::Input(step) => step.effects.len(),
        Played::State { .. } => 0,
    });
    assert!(effects.sum::<usize>() > 10, "the node did something worth recording");
}

#[test]
fn two_generations_are_kept_and_the_second_begins_where_the_first_leads() {
    let mut host = Host::new(1);
    host.run(2_000);
    let first = host.recording().first();
    assert!(first > 0, "the first generations are forgotten");
    let Recorder { older: Some(older), newer, .. } = &host.recorder else { panic!("one only") };
    assert!(older.bytes() >= older.base.len() && newer.first == older.end());
    let held = older.bytes() + newer.bytes();
    assert!(held <= 3 * (older.base.len() + newer.base.len()), "{held} bytes are held");
    let mut replay = host.recording().replay();
    let played: Vec<_> = replay.by_ref().collect();
    assert!(!played.iter().any(Played::differs));
    assert_eq!(states(&played), 2, "the second generation's base, and the end");
    assert_eq!(*replay.node(), host.node);
}

#[test]
fn a_node_that_took_nothing_has_a_recording_of_its_state() {
    let host = Host::new(DEFAULT_GENERATION_BYTES);
    let recording = host.recording();
    assert!(recording.is_empty());
    let mut replay = recording.replay();
    let played: Vec<_> = replay.by_ref().collect();
    assert_eq!(played, [Played::State { before: 0, same: true }]);
    assert_eq!(*replay.node(), host.node);
}

#[test]
fn a_changed_input_is_noticed() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(20);
    let mut recording = host.recording();
    let durable = recording.parts.iter_mut().find_map(|part| match part {
        Part::Input(recorded) if matches!(recorded.input, Input::Durable { .. }) => Some(recorded),
        _ => None,
    });
    durable.expect("something became durable").input = Input::EndOfTurn;
    assert!(recording.replay().any(|played| played.differs()));
}

#[test]
fn another_state_at_the_end_is_noticed() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(20);
    let opened = Input::Opened { conn: ConnectionId::accepted(1), identity: None };
    host.node.step(host.now, opened, &mut Vec::new());
    let played: Vec<_> = host.recording().replay().collect();
    let (last, before) = played.split_last().unwrap();
    assert!(matches!(last, Played::State { same: false, .. }));
    assert!(!before.iter().any(Played::differs));
}

#[test]
fn a_step_that_did_not_end_then_and_does_now_is_noticed() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(5);
    let Host { node, mut recorder, now, .. } = host;
    let conn = ConnectionId::accepted(1);
    recorder.step(&mut node.clone(), now, Input::Opened { conn, identity: None }, &mut Vec::new());
    recorder.newer.steps.last_mut().unwrap().effects = None;
    let recording = Recording::decode(&recorder.encode(None)).unwrap();
    let last_number = recording.len() as u64 - 1;
    let mut replay = recording.replay();
    let before = replay.by_ref().take(last_number as usize).filter(Played::differs).count();
    assert_eq!(before, 0);
    let (number, upcoming) = replay.upcoming().expect("one is left");
    assert_eq!((number, &upcoming.input), (last_number, &Input::Opened { conn, identity: None }));
    let Some(Played::Input(step)) = replay.next() else { panic!("no step") };
    assert_eq!((step.number, step.verdict), (last_number, Verdict::Unfinished));
    assert!(Played::Input(step).differs());
    assert_eq!(replay.next(), None, "a recording without a node has no state at its end");
}

#[test]
fn what_is_cut_or_changed_is_refused() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(5);
    let bytes = host.recorder.encode(Some(&host.node));
    assert!(Recording::decode(&bytes).is_ok());
    for length in 0..bytes.len() {
        let error = Recording::decode(&bytes[..length]).unwrap_err();
        let expected = match length {
            0..9 => matches!(error, RecordingError::NotARecording),
            _ => matches!(error, RecordingError::Truncated { offset } if offset <= length),
        };
        assert!(expected, "{length} bytes: {error}");
    }
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        assert!(Recording::decode(&changed).is_err(), "byte {index} is changed");
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(1);
    let mut bytes = host.recorder.encode(Some(&host.node));
    bytes.extend_from_slice(b"more");
    let error = Recording::decode(&bytes).unwrap_err();
    assert!(error.to_string().ends_with("4 bytes follow the end"), "{error}");
}

#[test]
fn states_in_the_wrong_place_are_refused() {
    let mut host = Host::new(1);
    host.run(2_000);
    let first = host.recorder.older.as_ref().expect("two generations").first;
    host.recorder.newer.first += 1;
    let error = Recording::decode(&host.recorder.encode(None)).unwrap_err();
    assert!(matches!(error, RecordingError::Nonsense { .. }), "{error}");
    host.recorder.newer.first -= 1;
    host.recorder.older.as_mut().expect("two generations").first = u64::MAX - first;
    let error = Recording::decode(&host.recorder.encode(None)).unwrap_err();
    assert!(matches!(error, RecordingError::Nonsense { .. }), "{error}");
}

#[test]
fn other_formats_and_builds_are_named() {
    let mut host = Host::new(DEFAULT_GENERATION_BYTES);
    host.run(1);
    let bytes = host.recorder.encode(None);
    let mut later = bytes.clone();
    later[8] = 9;
    let error = Recording::decode(&later).unwrap_err();
    assert_eq!(error, RecordingError::Format { found: 9, known: 2 });
    let other = file::with_build(&bytes, "9.9.9");
    let error = Recording::decode(&other).unwrap_err();
    assert!(matches!(error, RecordingError::OtherBuild { found, .. } if found == "9.9.9"));
}
