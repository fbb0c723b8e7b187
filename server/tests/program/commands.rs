//! What the client commands print and how they end.

use super::support::{Node, assert_fails, json_lines, stdout};
use serde_json::{Value, json};

#[test]
fn an_append_is_answered_by_its_id_and_can_be_read() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--partitions=2"]);
    let append = ["append", "--json", "--partition=1", "--header=9", "--data=hello"];
    let output = node.run(append);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json_lines(&output), [json!({"partition": 1, "id": 0})]);

    let feed = node.run(["feed", "--json", "--partition=1", "--data"]);
    assert_eq!(json_lines(&feed), [json!({"id": 0, "header": 9, "data": "hello"})]);
    let headers = node.run(["feed", "--json", "--partition=1", "--after=none"]);
    assert_eq!(json_lines(&headers), [json!({"id": 0, "header": 9})]);
    let other = node.run(["feed", "--json", "--partition=0"]);
    assert_eq!(json_lines(&other), [] as [Value; 0]);
}

#[test]
fn data_that_is_no_text_is_printed_in_base64() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(&data.path().join("node"), &[]);
    let file = data.path().join("bytes");
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    let file = format!("--file={}", file.display());
    assert_eq!(node.run(["append", "--partition=0", &file]).status.code(), Some(0));
    let feed = node.run(["feed", "--json", "--partition=0", "--data"]);
    assert_eq!(json_lines(&feed), [json!({"id": 0, "header": 0, "data_base64": "//4="})]);
}

#[test]
fn a_conflict_names_id_and_lock_and_ends_with_3() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[]);
    let lock = "--write-lock=account:7";
    let first = node.run(["append", "--json", "--partition=0", lock, "--data=a"]);
    assert_eq!(json_lines(&first), [json!({"partition": 0, "id": 0})]);

    let stale = ["append", "--json", "--partition=0", lock, "--at=none", "--data=b"];
    let refused = node.run(stale);
    assert_eq!(refused.status.code(), Some(3));
    let conflict = json!({"partition": 0, "conflict": {"id": 0, "lock": "account:7"}});
    assert_eq!(json_lines(&refused), [conflict]);

    let read = "--read-lock=account:7";
    let stale = ["append", "--partition=0", read, "--at=none", "--data=b"];
    assert_eq!(node.run(stale).status.code(), Some(3));
    let appender = "--append-lock=account:7";
    let unchecked = ["append", "--partition=0", appender, "--at=none", "--data=c"];
    assert_eq!(node.run(unchecked).status.code(), Some(0));
    let current = ["append", "--json", "--partition=0", lock, "--at=1", "--data=d"];
    assert_eq!(json_lines(&node.run(current)), [json!({"partition": 0, "id": 2})]);
}

#[test]
fn a_mark_beyond_the_log_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[]);
    let ahead = node.run(["append", "--json", "--partition=0", "--at=999", "--data=a"]);
    assert_eq!(ahead.status.code(), Some(1));
    let error = "refused: it was computed at 999, and the log ends at none";
    assert_eq!(json_lines(&ahead), [json!({"partition": 0, "error": error})]);
}

#[test]
fn lines_of_standard_input_are_answered_in_their_order() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[]);
    let lines: Vec<String> = (0..3_000).map(|line| format!("line {line}")).collect();
    let input = lines.join("\n") + "\n";
    let output = node.run_with_input(["append", "--json", "--partition=2", "-"], &input);
    assert_eq!(output.status.code(), Some(0));
    let ids: Vec<_> = json_lines(&output).iter().map(|line| line["id"].as_u64()).collect();
    assert_eq!(ids, (0..3_000).map(Some).collect::<Vec<_>>());

    let feed = node.run(["feed", "--json", "--partition=2", "--data", "--after=9"]);
    let found: Vec<_> =
        json_lines(&feed).iter().map(|line| line["data"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, lines[10..]);
    let few = node.run(["feed", "--json", "--partition=2", "--count=2", "--follow"]);
    assert_eq!(json_lines(&few).len(), 2);
}

#[test]
fn status_tells_partitions_sessions_and_replicas() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--partitions=2", "--node=5"]);
    assert_eq!(node.run(["append", "--partition=1", "--data=x"]).status.code(), Some(0));
    let status = node.run(["status", "--json"]);
    let status = &json_lines(&status)[0];
    let expected = json!([{"node": 5, "address": node.address, "live": true, "coordinator": true}]);
    assert_eq!(status["nodes"], expected);
    let partition = &status["partitions"][1];
    assert_eq!(partition["partition"], 1);
    assert_eq!((&partition["owner"], &partition["open"]), (&json!(5), &json!(true)));
    assert_eq!(partition["hwm"], 0);
    assert!(partition["session"].as_str().unwrap().contains(".n5."), "{partition}");
    let replica = &partition["replicas"][0];
    assert_eq!((&replica["node"], &replica["state"]), (&json!(5), &json!("joined")));
    assert_eq!((&replica["last"], &replica["lag"]), (&json!(0), &json!(0)));
    assert_eq!((&replica["counts"], &replica["damaged"]), (&json!(true), &json!(0)));
    let member = json!({"node": 5, "disk": replica["disk"]});
    assert_eq!((&partition["members"], &partition["version"]), (&json!([member]), &json!(0)));
    assert_eq!((&partition["start"], &partition["target"]), (&Value::Null, &Value::Null));
    assert_eq!(status["partitions"][0]["hwm"], Value::Null);

    let table = stdout(&node.run(["status"]));
    assert!(table.contains("partition  owner"), "{table}");
}

#[test]
fn a_partition_that_is_not_there_is_said_to_be() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--partitions=2"]);
    for command in [["append", "--partition=2", "--data=x"], ["feed", "--partition=2", "--data"]] {
        assert_fails(&node.run(command), 1, "the cluster has no partition 2; it has 0 to 1");
    }
}

#[test]
fn a_node_stops_cleanly_when_asked() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path(), &[]);
    assert_eq!(node.run(["append", "--partition=0", "--data=x"]).status.code(), Some(0));
    assert_eq!(node.stop(), Some(0));
    let again = Node::start(data.path(), &[]);
    let feed = again.run(["feed", "--json", "--partition=0"]);
    assert_eq!(json_lines(&feed), [json!({"id": 0, "header": 0})]);
}
