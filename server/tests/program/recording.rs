//! The flight recorder: a node is asked for its last inputs, and they are replayed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};
use waltz_core::id::{ClusterKey, NodeId, StorageId};
use waltz_core::io::{Address, ConnectionId, Input, Ticket};
use waltz_core::limits::Limits;
use waltz_core::node::{CoordinatorAt, Node as Machine, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_core::recorder::{DEFAULT_GENERATION_BYTES, Recorder};
use waltz_core::time::Time;

use super::support::{Node, assert_fails, json_lines, stdout, waltz};

/// The recordings in a directory.
fn recordings(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).expect("the node made it");
    let paths = files.map(|file| file.expect("it can be listed").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "recording"))
        .collect()
}

/// Asks a node for its recording, and waits as long as the node answers.
fn ask(node: &Node, directory: &Path) -> PathBuf {
    node.signal(Signal::USR1);
    for _ in 0..10_000 {
        assert!(node.run(["status"]).status.success());
        if let [path] = &recordings(directory)[..] {
            return path.clone();
        }
    }
    panic!("no recording was written");
}

/// A node of its own, which was never run.
fn machine() -> Machine {
    let coordinator = CoordinatorAt::Remote(Address("elsewhere".into()));
    let config = NodeConfig::new(NodeId(1), ClusterKey(7), Address("here".into()), coordinator);
    let recovered = Recovered::new(Limits::default(), Planted::NONE);
    Machine::new(config, recovered, StorageId(1), 1)
}

/// Writes a recording and replays it.
fn replay(recording: &[u8]) -> (Output, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.recording");
    std::fs::write(&path, recording).unwrap();
    let path = path.to_str().unwrap();
    (waltz(["replay", path]), json_lines(&waltz(["replay", path, "--json"])))
}

#[test]
fn a_recording_is_written_when_asked_for_and_replays_to_the_same_end() {
    let directory = tempfile::tempdir().unwrap();
    let flights = directory.path().join("flights");
    let option = format!("--flight-recorder={}", flights.display());
    let node = Node::start(&directory.path().join("data"), &[&option]);
    assert!(node.run(["append", "--partition=0", "--data=hello"]).status.success());
    let path = ask(&node, &flights);
    let path = path.to_str().unwrap();

    let replayed = waltz(["replay", path]);
    assert!(replayed.status.success(), "{}", stdout(&replayed));
    let text = stdout(&replayed);
    assert!(text.contains("append entry 1: "), "{text}");
    assert!(
        text.trim_end().ends_with("inputs replayed from input 0 on: all as recorded"),
        "{text}"
    );

    let lines = json_lines(&waltz(["replay", path, "--json", "--from=3", "--to=5"]));
    let numbers: Vec<_> = lines.iter().filter_map(|line| line["number"].as_u64()).collect();
    assert_eq!(numbers, [3, 4, 5]);
    assert!(lines.iter().all(|line| line["kind"] != "step" || line["verdict"] == "same"));
    let end = lines.last().unwrap();
    let expected = json!({
        "kind": "end", "first": 0, "inputs": 6,
        "different": 0, "first_different": null, "panicked": null
    });
    assert_eq!(*end, expected);
}

#[test]
fn a_recording_without_its_oldest_inputs_replays_from_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let flights = directory.path().join("flights");
    let option = format!("--flight-recorder={}", flights.display());
    let data = directory.path().join("data");
    let node = Node::start(&data, &[&option, "--flight-recorder-bytes=1K"]);
    let lines = "a line that is a record of its own\n".repeat(4_000);
    assert!(node.run_with_input(["append", "--partition=0", "-"], &lines).status.success());
    let path = ask(&node, &flights);
    let replayed = waltz(["replay", path.to_str().unwrap(), "--json"]);
    assert!(replayed.status.success());
    let lines = json_lines(&replayed);
    assert!(lines.last().unwrap()["first"].as_u64() > Some(0), "{:?}", lines.last());
    assert!(lines.iter().any(|line| line["kind"] == "step"));
}

#[test]
fn a_request_does_not_end_a_node_without_a_recorder() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path(), &[]);
    assert!(node.run(["append", "--partition=0", "--data=hello"]).status.success());
    node.signal(Signal::USR1);
    assert!(node.run(["append", "--partition=0", "--data=hello"]).status.success());
}

#[test]
fn the_first_difference_is_told() {
    let mut machine = machine();
    let mut recorder = Recorder::new(&machine, DEFAULT_GENERATION_BYTES);
    for input in [Input::Timer, Input::EndOfTurn] {
        recorder.step(&mut machine, Time(1), input, &mut Vec::new());
    }
    // Behind the recorder's back.
    let opened = Input::Opened { conn: ConnectionId::accepted(1), identity: None };
    machine.step(Time(2), opened, &mut Vec::new());
    let closed = Input::Closed { conn: ConnectionId::accepted(1), reason: "gone".into() };
    for input in [Input::Timer, closed, Input::Shutdown, Input::EndOfTurn] {
        recorder.step(&mut machine, Time(60_000_000_000), input, &mut Vec::new());
    }
    let (text, lines) = replay(&recorder.encode(Some(&machine)));
    assert_eq!(text.status.code(), Some(4), "{}", stdout(&text));
    let is_different = |line: &&Value| line["verdict"] == "different";
    let first = &lines.iter().find(is_different).expect("a step differs")["number"];
    assert_eq!(lines.last().unwrap()["first_different"], *first);
    let text = stdout(&text);
    assert!(text.contains("THESE EFFECTS ARE NOT THE RECORDED ONES"), "{text}");
    assert!(text.contains(&format!("the first at input {first}")), "{text}");
}

#[test]
fn a_panic_happens_again() {
    let mut machine = machine();
    let mut recorder = Recorder::new(&machine, DEFAULT_GENERATION_BYTES);
    let durable = |ticket| Input::Durable { up_to: Ticket(ticket), places: Vec::new() };
    recorder.step(&mut machine, Time(1), Input::Timer, &mut Vec::new());
    recorder.step(&mut machine, Time(1), durable(2), &mut Vec::new());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        recorder.step(&mut machine, Time(2), durable(1), &mut Vec::new());
    }));
    assert!(panicked.is_err(), "what was durable can't be durable no more");
    let (text, lines) = replay(&recorder.encode(None));
    assert_eq!(text.status.code(), Some(0));
    let text = stdout(&text);
    assert!(text.contains("panic: durability never goes back"), "{text}");
    let expected =
        "3 inputs replayed from input 0 on: all as recorded; the node panicked at input 2";
    assert_eq!(text.lines().last(), Some(expected));
    assert_eq!(lines.last().unwrap()["panicked"], 2);
}

#[test]
fn what_is_damaged_or_cut_is_refused() {
    let machine = machine();
    let recorder = Recorder::new(&machine, DEFAULT_GENERATION_BYTES);
    let bytes = recorder.encode(Some(&machine));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.recording");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let mut later = bytes.clone();
    later[8] = 3;
    for (bytes, expected) in [
        (&damaged[..], "the recording is damaged in the part at byte"),
        (&bytes[..bytes.len() - 1], "the recording ends early, in the part at byte"),
        (&later, "the recording has format 3, and this program reads format 2"),
        (&bytes[..5], "this is no recording of a node"),
        (&[], "this is no recording of a node"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_fails(&waltz(["replay", path.to_str().unwrap()]), 1, expected);
    }
}

#[test]
fn what_is_no_recording_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    std::fs::write(&path, "hello").unwrap();
    assert_fails(&waltz(["replay", path.to_str().unwrap()]), 1, "this is no recording of a node");
    assert_fails(&waltz(["replay", "/does/not/exist"]), 1, "could not read /does/not/exist");
}
