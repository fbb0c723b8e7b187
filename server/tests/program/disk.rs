//! What a stopped node's disk holds, and what is wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::support::{Node, assert_fails, json_lines, stdout, waltz};

/// A node of two partitions that has stopped, with three records in partition 1.
fn stopped(data: &Path) {
    let mut node = Node::start(data, &["--partitions=2"]);
    for text in ["--data=first", "--data=second", "--data=third"] {
        let append = node.run(["append", "--partition=1", text]);
        assert!(append.status.success(), "{}", String::from_utf8_lossy(&append.stderr));
    }
    assert_eq!(node.stop(), Some(0));
}

fn disk(what: &str, directory: &Path, more: &[&str]) -> Output {
    let directory = directory.to_str().expect("paths are text");
    match more {
        [] => waltz(["disk", what, directory]),
        [one] => waltz(["disk", what, directory, one]),
        [one, two] => waltz(["disk", what, directory, one, two]),
        _ => panic!("{more:?} are too many"),
    }
}

/// Every file and what is in it.
fn contents(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn everything_is_shown_and_nothing_changed() {
    let data = tempfile::tempdir().unwrap();
    stopped(data.path());
    let journal = data.path().join("journal");
    let before = contents(&journal);
    let verdict = json_lines(&disk("verify", data.path(), &["--json"])).remove(0);
    assert_eq!((&verdict["sound"], &verdict["partitions"]), (&json!(true), &json!(2)), "{verdict}");
    let of_journal = disk("verify", &journal, &[]);
    assert!(of_journal.status.success() && stdout(&of_journal).contains("ok    records are sound"));

    let statistics = json_lines(&disk("stats", data.path(), &["--json"])).remove(0);
    assert_eq!(statistics["partitions"][1]["records"], 3, "{statistics}");
    assert_eq!(statistics["entries"]["enroll"]["entries"], 1, "{statistics}");
    assert!(stdout(&disk("stats", data.path(), &[])).contains("records"));

    let dumped = json_lines(&disk("dump", data.path(), &["--json", "--records"]));
    let records = dumped.iter().filter_map(|line| line["records"].as_array()).flatten();
    let bytes: Vec<_> = records.map(|record| record["data_bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [5, 6, 5]);
    let of_other = stdout(&disk("dump", data.path(), &["--partition=0"]));
    assert!(of_other.contains("create") && !of_other.contains("records"), "{of_other}");

    let index = json_lines(&disk("index", data.path(), &["--json"]));
    let ids = |line: &Value| (line["partition"].clone(), line["first"].clone());
    let ids: Vec<_> = index.iter().map(ids).collect();
    assert_eq!(ids, [0, 1, 2].map(|id| (json!(1), json!(id))));
    let body = |line: &Value| {
        let name = format!("journal-{:08}.wal", line["segment"].as_u64().unwrap());
        let offset = line["offset"].as_u64().unwrap() as usize;
        let bytes = line["bytes"].as_u64().unwrap() as usize;
        before[&journal.join(name)][offset..offset + bytes].to_vec()
    };
    assert!(body(&index[1]).ends_with(b"second"), "the index leads to the record");
    assert_eq!(contents(&journal), before, "nothing was changed");
}

#[test]
fn damage_is_told_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    stopped(data.path());
    let index = json_lines(&disk("index", data.path(), &["--json"]));
    let name = format!("journal-{:08}.wal", index[0]["segment"].as_u64().unwrap());
    let file = data.path().join("journal").join(&name);
    let mut bytes = fs::read(&file).unwrap();
    bytes[index[0]["offset"].as_u64().unwrap() as usize + 9] ^= 4;
    fs::write(&file, bytes).unwrap();
    let verified = disk("verify", data.path(), &[]);
    let told = stdout(&verified);
    assert_eq!(verified.status.code(), Some(1), "{told}");
    assert!(told.contains("FAIL  batches are as they were written"), "{told}");
    assert!(told.contains(&name) && told.contains("The bodies of 1 of its"), "{told}");
    let dumped = stdout(&disk("dump", data.path(), &[]));
    assert_eq!(dumped.matches("DAMAGED").count(), 1, "{dumped}");
    fs::remove_file(&file).unwrap();
    let verified = json_lines(&disk("verify", data.path(), &["--json"])).remove(0);
    assert_eq!(verified["sound"], false, "{verified}");
}

#[test]
fn what_is_no_stopped_nodes_disk_is_refused() {
    let data = tempfile::tempdir().unwrap();
    assert_fails(&disk("stats", data.path(), &[]), 1, "holds no journal");
    assert_fails(&disk("index", &data.path().join("nowhere"), &[]), 1, "No such file");
    let node = Node::start(data.path(), &[]);
    assert_fails(&disk("dump", data.path(), &[]), 1, "in use by another process");
    drop(node);
    let file = data.path().join("journal/journal-00000001.wal");
    fs::write(file, b"not a segment").unwrap();
    assert_fails(&disk("dump", data.path(), &[]), 1, "journal-00000001.wal");
}
