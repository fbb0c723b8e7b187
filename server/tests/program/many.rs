//! A node with as many partitions as one may have to keep.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Node, json_lines};

const PARTITIONS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// How many partitions are open, as the node tells.
fn open(node: &Node) -> usize {
    let output = node.run(["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let lines: [Value; 1] = json_lines(&output).try_into().expect("a line");
    let partitions = lines[0]["partitions"].as_array().cloned().unwrap_or_default();
    partitions.iter().filter(|partition| partition["open"] == true).count()
}

#[test]
fn ten_thousand_partitions_are_made_and_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let mut node = Node::start(directory.path(), &["--partitions=10000"]);
        let started = Instant::now();
        while open(&node) < PARTITIONS {
            assert!(started.elapsed() < PATIENCE, "{} are open", open(&node));
        }
        for partition in [0, PARTITIONS - 1] {
            let partition = format!("--partition={partition}");
            let output = node.run(["append", &partition, "--data", "record", "--json"]);
            assert!(output.status.success(), "{output:?}");
            let lines = json_lines(&output);
            assert_eq!(lines[0]["id"], life, "{lines:?}");
        }
        assert_eq!(node.stop(), Some(0));
    }
}
