//! An archive that is kept up to date with what is committed, and trims that wait for it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::support::{Node, WALTZ, assert_fails, json_lines, signal, waltz};

/// What the node keeps of each partition; what is older goes.
const KEPT: &str = "--retain-bytes=4K";

/// Appends so many transactions, a hundred at a time: retention tells no finer parts from each other.
fn append(node: &Node, partition: u32, count: u32) {
    let partition = format!("--partition={partition}");
    for first in (0..count).step_by(100) {
        let numbers = first..count.min(first + 100);
        let lines: String = numbers.map(|number| format!("transfer {number}\n")).collect();
        let output = node.run_with_input(["append", &partition, "--header=7", "-"], &lines);
        assert!(output.status.success(), "{output:?}");
    }
}

fn log(node: &Node, partition: u32) -> Vec<Value> {
    let partition = format!("--partition={partition}");
    json_lines(&node.run(["feed", &partition, "--data", "--json"]))
}

/// The log's start and end.
fn bounds(node: &Node, partition: u32) -> (u64, u64) {
    let partition = format!("--partition={partition}");
    let described = node.run(["admin", "partition", "describe", &partition, "--json"]);
    let described = &json_lines(&described)[0];
    let count = |mark: &Value| mark.as_u64().map_or(0, |id| id + 1);
    (count(&described["start"]), count(&described["hwm"]))
}

fn once(node: &Node, archive: &str) -> Output {
    node.run(["archive", "follow", archive, "--once", "--json"])
}

/// Has the archive registered as a consumer of every partition, before there is anything in them.
fn register(node: &Node, archive: &str) {
    wait_until(|| once(node, archive).status.success(), "the cluster is formed");
    assert_eq!(json_lines(&once(node, archive)), [] as [Value; 0], "there is nothing yet");
}

/// The command, running until this is dropped.
struct Follow(Child);

impl Follow {
    fn start(node: &Node, archive: &str) -> Self {
        let command = ["archive", "follow", archive, "--every=20ms", "--json"];
        let mut program = Command::new(WALTZ);
        program.args(command).arg(format!("--server={}", node.address));
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(program.spawn().unwrap())
    }

    /// Ctrl-C.
    fn interrupt(&mut self) {
        signal(&self.0, Signal::INT);
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        // One that has ended is told nothing.
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it was killed");
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last record that the archive has of each partition, without a hole before it.
fn archived(archive: &str) -> Vec<u64> {
    let lines = json_lines(&waltz(["archive", "list", archive, "--json"]));
    let last = |line: &Value| {
        assert_eq!(line["missing"], Value::Array(vec![]), "{line}");
        assert_eq!(line["first"], 0, "{line}");
        line["last"].as_u64().unwrap()
    };
    lines.iter().map(last).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

#[test]
fn nothing_is_trimmed_by_size_before_it_is_archived() {
    let directory = tempfile::tempdir().unwrap();
    let (data, archive) = (directory.path().join("data"), directory.path().join("archive"));
    fs::create_dir(&archive).unwrap();
    let (archive, reads) = (text(&archive), format!("--archive={}", text(&archive)));
    let node = Node::start(&data, &["--partitions=2", KEPT, &reads]);
    register(&node, archive);
    for partition in [0, 1] {
        append(&node, partition, 300);
    }
    // It is registered, and has not seen them.
    assert_eq!([bounds(&node, 0), bounds(&node, 1)], [(0, 300); 2]);

    let lines = json_lines(&once(&node, archive));
    let told: Vec<_> = lines.iter().map(|line| (&line["to"], &line["records"])).collect();
    assert_eq!(told, [(&299.into(), &300.into()); 2], "{lines:?}");
    assert_eq!(archived(archive), [299, 299]);
    wait_until(|| bounds(&node, 0).0 > 0 && bounds(&node, 1).0 > 0, "both are trimmed");
    assert_eq!([log(&node, 0).len(), log(&node, 1).len()], [300, 300]);

    // What follows waits for it to come back.
    append(&node, 0, 500);
    let (start, end) = bounds(&node, 0);
    assert!(start <= 300 && end == 800, "{start} {end}");
    let mut follow = Follow::start(&node, archive);
    wait_until(|| archived(archive)[0] == 799, "it catches up");
    append(&node, 0, 100);
    wait_until(|| bounds(&node, 0).0 >= 800, "it goes on");
    follow.interrupt();
    let ids: Vec<_> = log(&node, 0).iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert!(ids.into_iter().eq(0..900));
    assert!(waltz(["archive", "verify", archive]).status.success());
}

#[test]
fn an_archive_that_is_away_holds_up_trims_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (data, archive) = (directory.path().join("data"), directory.path().join("archive"));
    fs::create_dir(&archive).unwrap();
    let node = Node::start(&data, &["--partitions=1", KEPT]);
    register(&node, text(&archive));
    append(&node, 0, 10);
    assert!(once(&node, text(&archive)).status.success());
    fs::remove_dir_all(&archive).unwrap();
    append(&node, 0, 300);
    assert_fails(&once(&node, text(&archive)), 1, text(&archive));
    let (start, end) = bounds(&node, 0);
    assert!(start <= 10 && end == 310, "{start} {end}");
    let after = start.checked_sub(1).map_or("none".to_owned(), |id| id.to_string());
    let fed = node.run(["feed", "--partition=0", &format!("--after={after}"), "--json"]);
    assert_eq!(json_lines(&fed).len() as u64, end - start);
}

#[test]
fn wrong_usage_is_refused() {
    let nowhere = &["--server=127.0.0.1:1", "--timeout=100ms"];
    assert_fails(&waltz(["archive", "follow"]), 2, "URL");
    assert_fails(&waltz(["archive", "follow", "/tmp", "--every=soon"]), 2, "unit of time");
    assert_fails(&waltz(["archive", "follow", "/tmp", "--partition=x"]), 2, "write partitions");
    assert_fails(&waltz(["archive", "follow", "/tmp", nowhere[0], nowhere[1]]), 1, "connect");
}
