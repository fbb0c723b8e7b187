//! Trimmed history in an archive, and read from there through the same feed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Node, WALTZ, assert_fails, json_lines, stdout, waltz};

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// Everything that a consumer who begins with nothing is fed of partition 0.
pub(super) fn log(node: &Node) -> Vec<Value> {
    json_lines(&node.run(["feed", "--partition=0", "--data", "--json"]))
}

pub(super) fn append(node: &Node, count: u32) {
    let lines: String = (0..count).map(|number| format!("transfer {number}\n")).collect();
    let output = node.run_with_input(["append", "--partition=0", "--header=7", "-"], &lines);
    assert!(output.status.success(), "{output:?}");
}

/// Trims partition 0 up to an id, once the archive has everything.
fn trim(node: &Node, archive: &str, to: u64) -> std::process::Output {
    let (to, archive) = (format!("--to={to}"), format!("--archive={archive}"));
    let partition = "--partition=0";
    node.run(["admin", "partition", "trim", partition, &to, &archive, "--yes", "--json"])
}

/// A directory for an archive, and a node with 500 transactions that reads it.
fn rig(directory: &Path) -> (PathBuf, Node) {
    let archive = directory.join("archive");
    fs::create_dir(&archive).unwrap();
    let node = Node::start(&directory.join("data"), &[&format!("--archive={}", text(&archive))]);
    append(&node, 500);
    (archive, node)
}

/// Starts the node again, whose memory has nothing then, once its disk knows of the trim.
fn restart(node: &mut Node, directory: &Path, log: Stdio) {
    let archive = format!("--archive={}", text(&directory.join("archive")));
    restart_as(node, || Node::start_logging(&directory.join("data"), &[&archive], log));
}

/// The same, however it is started.
pub(super) fn restart_as(node: &mut Node, start_again: impl FnOnce() -> Node) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while describe(node)["replicas"][0]["low_water"] != describe(node)["hwm"] {
        assert!(Instant::now() < deadline, "{}", describe(node));
        std::thread::sleep(Duration::from_millis(10));
    }
    let start = describe(node)["start"].clone();
    assert_eq!(node.stop(), Some(0));
    *node = start_again();
    assert!(node.run(["append", "--partition=0", "--data", "served"]).status.success());
    assert_eq!(describe(node)["start"], start);
}

pub(super) fn describe(node: &Node) -> Value {
    let described = node.run(["admin", "partition", "describe", "--partition=0", "--json"]);
    json_lines(&described)[0].clone()
}

pub(super) fn objects(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { objects(&path) } else { vec![path] }).collect()
}

#[test]
fn a_consumer_that_begins_below_the_start_is_fed_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, mut node) = rig(directory.path());
    let before = log(&node);
    assert_eq!(before.len(), 500);
    let lines = json_lines(&trim(&node, text(&archive), 399));
    assert_eq!((&lines[0]["outcome"], &lines[0]["records"]), (&"archived".into(), &400.into()));
    assert_eq!(lines[1]["outcome"], "granted");
    assert_eq!(log(&node), before);
    let lines = json_lines(&trim(&node, text(&archive), 449));
    assert_eq!((&lines[0]["records"], &lines[0]["found"]), (&50.into(), &0.into()));
    append(&node, 1);
    let before = log(&node);
    assert_eq!(before.len(), 501);

    let listed = &json_lines(&waltz(["archive", "list", "--json", text(&archive)]))[0];
    assert_eq!((&listed["first"], &listed["last"]), (&0.into(), &449.into()));
    assert_eq!((&listed["objects"], &listed["missing"]), (&2.into(), &Value::Array(vec![])));
    let verified = waltz(["archive", "verify", text(&archive)]);
    assert!(verified.status.success() && stdout(&verified).contains("449"), "{verified:?}");

    // Without the setting what is trimmed is gone, and with it any server has it.
    node.kill();
    let node = Node::start(&directory.path().join("data"), &[]);
    assert_fails(&node.run(["feed", "--partition=0", "--json"]), 1, "trimmed");
    drop(node);
    let args = [format!("--archive=file://{}", text(&archive))];
    let node = Node::start(&directory.path().join("data"), &[&args[0]]);
    assert_eq!(log(&node), before);
    let backup = directory.path().join("whole");
    let created = node.run(["backup", "create", "--partition=0", "--json", "--to", text(&backup)]);
    let created = &json_lines(&created)[0];
    assert_eq!((&created["first"], &created["records"]), (&0.into(), &501.into()));
}

#[test]
fn what_is_in_the_archive_is_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, mut node) = rig(directory.path());
    assert_eq!(node.stop(), Some(0));
    let copy = directory.path().join("copy");
    let copied =
        Command::new("cp").arg("-r").arg(directory.path().join("data")).arg(&copy).status();
    assert!(copied.unwrap().success());
    let node = Node::start(&directory.path().join("data"), &[]);
    let trimmed = trim(&node, text(&archive), 299);
    assert!(trimmed.status.success(), "{trimmed:?}");
    drop(node);
    // As if the command had been interrupted before it asked for the trim.
    let node = Node::start(&copy, &[]);
    let lines = json_lines(&trim(&node, text(&archive), 399));
    assert_eq!((&lines[0]["records"], &lines[0]["found"]), (&100.into(), &300.into()));
    assert_eq!(objects(&archive).len(), 2);
}

#[test]
fn a_damaged_object_is_never_fed_and_the_operator_hears_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, mut node) = rig(directory.path());
    assert!(trim(&node, text(&archive), 399).status.success());
    restart(&mut node, directory.path(), Stdio::null());
    let before = log(&node);
    let [object] = &objects(&archive)[..] else { panic!("one object") };
    let sound = fs::read(object).unwrap();
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(object, bytes).unwrap();
    assert_fails(&waltz(["archive", "verify", text(&archive)]), 1, text(object));

    let (said, fed) = (directory.path().join("log"), directory.path().join("fed"));
    restart(&mut node, directory.path(), File::create(&said).unwrap().into());
    let mut feed = Command::new(WALTZ)
        .args(["feed", "--partition=0", "--data", "--json"])
        .arg(format!("--server={}", node.address))
        .stdout(File::create(&fed).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let name = object.file_name().unwrap().to_str().unwrap();
    while !fs::read_to_string(&said).unwrap().contains(name) {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read_to_string(&said).unwrap().contains("can't be read from the archive"));
    assert_eq!(fs::read_to_string(&fed).unwrap(), "", "nothing that is not sound is fed");
    // Sound again, it is read for the one who waited.
    fs::write(object, sound).unwrap();
    assert!(feed.wait().unwrap().success());
    let lines = fs::read_to_string(&fed).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..before.len()], before);
}

#[test]
fn a_hole_has_to_be_wanted_and_readers_hear_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, mut node) = rig(directory.path());
    let forget = |to: &str| {
        let trimmed = node.run(["admin", "partition", "trim", "--partition=0", "--yes", to]);
        assert!(trimmed.status.success(), "{trimmed:?}");
    };
    assert!(trim(&node, text(&archive), 99).status.success());
    forget("--to=199");
    assert_fails(&trim(&node, text(&archive), 299), 1, "100 to 199");
    assert_fails(&trim(&node, text(&archive), 299), 1, "--accept-gap");
    let into = format!("--archive={}", text(&archive));
    let trim = ["admin", "partition", "trim", "--partition=0", "--to=299", &into, "--yes"];
    let [admin, partition, verb, of, to, into, yes] = trim;
    let trimmed = node.run([admin, partition, verb, of, to, into, yes, "--accept-gap"]);
    assert!(trimmed.status.success(), "{trimmed:?}");
    let listed = waltz(["archive", "list", text(&archive)]);
    assert!(stdout(&listed).contains("100-199"), "{listed:?}");
    restart(&mut node, directory.path(), Stdio::null());
    let fed = node.run(["feed", "--partition=0", "--json"]);
    assert_fails(&fed, 1, "trimmed");
    assert_eq!(json_lines(&fed).len(), 100);
    let fed = node.run(["feed", "--partition=0", "--json", "--after=199"]);
    assert_eq!(json_lines(&fed).len(), 301);
}

#[test]
fn nothing_is_trimmed_that_can_not_be_archived() {
    let directory = tempfile::tempdir().unwrap();
    let (archive, node) = rig(directory.path());
    let absent = directory.path().join("absent");
    assert_fails(&trim(&node, text(&absent), 99), 1, "is not there");
    assert_fails(&trim(&node, "ftp://host/folder", 99), 1, "names no archive");
    assert_fails(&trim(&node, text(&archive), 500), 1, "its log ends with 499");
    fs::write(archive.join("partition-0"), "in the way").unwrap();
    assert_fails(&trim(&node, text(&archive), 99), 1, "partition-0");
    let unreachable = Command::new(WALTZ)
        .args(["admin", "partition", "trim", "--partition=0", "--to=99", "--yes"])
        .args(["--archive=s3://bucket/folder", &format!("--server={}", node.address)])
        .envs([("AWS_ENDPOINT", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "true")])
        .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .output()
        .unwrap();
    assert_fails(&unreachable, 1, "can't list s3://bucket/folder");
    assert_eq!(describe(&node)["start"], Value::Null);
    let served = waltz(["serve", "--listen=127.0.0.1:0", "--archive=ftp://host/folder"]);
    assert_fails(&served, 2, "names no archive");
}
