//! A partition's log in a file, and back in another cluster.

use std::path::Path;

use serde_json::Value;

use super::support::{Node, assert_fails, json_lines, stdout, waltz};

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// What a node's partition holds: ids, headers and data.
fn log(node: &Node) -> Vec<Value> {
    json_lines(&node.run(["feed", "--partition=0", "--data", "--json"]))
}

/// A node with some transactions, among them ones with locks that conflict with each other.
fn written(directory: &Path) -> Node {
    let node = Node::start(directory, &["--partitions=2"]);
    let lines: String = (0..500).map(|number| format!("transfer {number}\n")).collect();
    let output = node.run_with_input(["append", "--partition=0", "--header=7", "-"], &lines);
    assert!(output.status.success(), "{output:?}");
    for data in ["first", "second", "third"] {
        let args = ["append", "--partition=0", "--write-lock=account:1", "--data", data];
        assert!(node.run(args).status.success());
    }
    node
}

#[test]
fn what_was_backed_up_comes_back_in_another_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p0.waltz");
    let mut node = written(&directory.path().join("old"));
    let before = log(&node);
    let created = node.run(["backup", "create", "--partition=0", "--json", "--to", text(&file)]);
    assert_eq!(json_lines(&created)[0]["records"], 503, "{created:?}");
    let again = node.run(["backup", "create", "--partition=0", "--to", text(&file)]);
    assert_fails(&again, 1, "p0.waltz");
    node.kill();
    let verified = waltz(["backup", "verify", text(&file)]);
    assert!(stdout(&verified).contains("503 transactions"), "{verified:?}");

    let node = Node::start(&directory.path().join("new"), &["--partitions=2"]);
    let restore = ["backup", "restore", "--partition=0", "--json", "--from", text(&file)];
    let restored = &json_lines(&node.run(restore))[0];
    assert_eq!((&restored["restored"], &restored["appended"]), (&503.into(), &503.into()));
    assert_eq!(log(&node), before);
    let restored = &json_lines(&node.run(restore))[0];
    assert_eq!((&restored["restored"], &restored["appended"]), (&503.into(), &0.into()));
}

#[test]
fn a_restore_goes_on_where_it_came_to_and_touches_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (short, long) = (directory.path().join("short"), directory.path().join("long"));
    let node = written(&directory.path().join("old"));
    let create = |to| node.run(["backup", "create", "--partition=0", "--to", text(to)]);
    assert!(create(&short).status.success());
    assert!(node.run(["append", "--partition=0", "--data", "one more"]).status.success());
    assert!(create(&long).status.success());

    let other = Node::start(&directory.path().join("new"), &["--partitions=2"]);
    let restore =
        |from| other.run(["backup", "restore", "--partition=0", "--json", "--from", text(from)]);
    assert!(restore(&short).status.success());
    let restored = &json_lines(&restore(&long))[0];
    assert_eq!((&restored["restored"], &restored["appended"]), (&504.into(), &1.into()));
    assert_fails(&restore(&short), 1, "holds more than the backup");
    let elsewhere = ["append", "--partition=1", "--data", "something else"];
    assert!(other.run(elsewhere).status.success());
    let args = ["backup", "restore", "--partition=1", "--from", text(&short)];
    assert_fails(&other.run(args), 1, "is not the backup's");
}

#[test]
fn a_damaged_backup_and_one_without_its_beginning_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, trimmed) = (directory.path().join("whole"), directory.path().join("trimmed"));
    let node = written(&directory.path().join("old"));
    let create = |to| node.run(["backup", "create", "--partition=0", "--json", "--to", text(to)]);
    assert!(create(&file).status.success());
    let trim = ["admin", "partition", "trim", "--partition=0", "--to=499", "--yes"];
    assert!(node.run(trim).status.success());
    assert_eq!(json_lines(&create(&trimmed))[0]["first"], 500);

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_fails(&waltz(["backup", "verify", text(&file)]), 1, "is damaged at byte");
    let other = Node::start(&directory.path().join("new"), &[]);
    let restore = ["backup", "restore", "--partition=0", "--from", text(&file)];
    assert_fails(&other.run(restore), 1, "is damaged at byte");
    let restore = ["backup", "restore", "--partition=0", "--from", text(&trimmed)];
    assert_fails(&other.run(restore), 1, "--renumber");
    assert_eq!(log(&other), Vec::<Value>::new());
    let restore = ["backup", "restore", "--partition=0", "--renumber", "--from", text(&trimmed)];
    assert!(other.run(restore).status.success());
    assert_eq!(log(&other).len(), 3);
}
