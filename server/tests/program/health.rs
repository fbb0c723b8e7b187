//! Health checks and metrics of nodes that run: what they answer, and that they are true.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use super::support::Node;

/// What an operator waits for a state that is bound to come.
const SOON: Duration = Duration::from_secs(60);
pub(super) const HEALTH: &str = "--health=127.0.0.1:0";

/// Asks a node's endpoint; the status and the body, or nothing if it does not answer in time.
fn ask(node: &Node, path: &str, patience: Duration) -> Option<(u16, String)> {
    let address = node.health.as_deref().expect("the node has an endpoint");
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

pub(super) fn get(node: &Node, path: &str) -> (u16, String) {
    ask(node, path, SOON).expect("the endpoint answers")
}

/// Asks until it is as expected; the state of a cluster comes about by itself.
#[track_caller]
fn wait_for(node: &Node, path: &str, expected: impl Fn(u16, &str) -> bool) -> String {
    let began = std::time::Instant::now();
    loop {
        let (status, body) = get(node, path);
        if expected(status, &body) {
            return body;
        }
        assert!(began.elapsed() < SOON, "{path} still says {status}: {body}");
        std::thread::yield_now();
    }
}

fn is_ready(node: &Node) {
    wait_for(node, "/readyz", |status, body| (status, body) == (200, "ready\n"));
}

/// The sum of a metric's samples.
pub(super) fn total(metrics: &str, name: &str) -> f64 {
    let of_metric =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let value = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
    metrics.lines().filter(of_metric).filter_map(value).sum()
}

/// The names of all metrics, as series are called.
fn names(metrics: &str) -> BTreeSet<String> {
    let described = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let name = |line: &str| match line.split_once(' ') {
        Some((name, "counter")) => format!("{name}_total"),
        Some((name, _)) => name.to_owned(),
        None => panic!("{line:?} describes no metric"),
    };
    described.map(name).collect()
}

#[test]
fn a_node_without_an_endpoint_says_so_by_silence() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(Node::start(data.path(), &[]).health, None);
}

#[test]
fn a_node_is_live_and_ready_and_its_metrics_move_with_appends() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[HEALTH, "--partitions=2"]);
    assert_eq!(get(&node, "/livez"), (200, "ok\n".to_owned()));
    is_ready(&node);
    assert_eq!(get(&node, "/nothing").0, 404);

    let before = get(&node, "/metrics").1;
    for _ in 0..3 {
        let appended = node.run(["append", "--partition=1", "--data=a", "--write-lock=a:1"]);
        assert_eq!(appended.status.code(), Some(0));
    }
    let late = node.run(["append", "--partition=1", "--data=a", "--write-lock=a:1", "--at=none"]);
    assert_eq!(late.status.code(), Some(3), "a lock refuses it");
    let after = get(&node, "/metrics").1;
    let moved = |name: &str| total(&after, name) - total(&before, name);
    assert_eq!(moved("waltz_appends_accepted_total"), 3.0);
    assert_eq!(moved("waltz_appends_committed_total"), 3.0);
    assert_eq!(moved("waltz_conflicts_total"), 1.0);
    assert_eq!(moved("waltz_commit_latency_seconds_count"), 3.0);
    assert_eq!(moved("waltz_partition_committed_records"), 3.0);
    assert_eq!(moved("waltz_stored_records"), 3.0);
    assert!(moved("waltz_journal_sync_seconds_count") >= 3.0);
    assert_eq!(total(&after, "waltz_ready"), 1.0);
    assert_eq!(total(&after, "waltz_partition_open"), 2.0);
    assert!(total(&after, "process_resident_memory_bytes") > 1e6);
    assert!(after.contains("waltz_partition_committed_records{partition=\"1\"} 3\n"), "{after}");
}

#[test]
fn a_node_whose_coordinator_never_answered_is_live_and_not_ready() {
    let data = tempfile::tempdir().unwrap();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let coordinator = format!("--coordinator={}", silent.local_addr().unwrap());
    let node = Node::start(data.path(), &[HEALTH, &coordinator, "--node=2"]);
    assert_eq!(get(&node, "/livez").0, 200);
    let (status, body) = get(&node, "/readyz");
    assert_eq!(status, 503);
    assert_eq!(body, "the coordinator has not registered this node\n");
    assert_eq!(total(&get(&node, "/metrics").1, "waltz_coordinator_synced"), 0.0);
}

#[test]
fn a_node_is_not_ready_without_a_quorum_and_ready_again_with_one() {
    let data = tempfile::tempdir().unwrap();
    let directory = |number: u32| data.path().join(format!("node-{number}"));
    let flags = [HEALTH, "--partitions=1", "--replicas=2", "--roles=coordinator,server,storage"];
    let first = Node::start(&directory(1), &flags);
    let body = wait_for(&first, "/readyz", |_, body| !body.contains("registered"));
    assert!(body.contains("no partitions"), "{body}");

    let coordinator = format!("--coordinator={}", first.address);
    let flags = [HEALTH, &coordinator, "--node=2", "--roles=storage"];
    let mut second = Node::start(&directory(2), &flags);
    is_ready(&first);
    is_ready(&second);

    second.kill();
    let body = wait_for(&first, "/readyz", |status, _| status == 503);
    assert!(body.contains("partition 0"), "{body}");
    let metrics = get(&first, "/metrics").1;
    assert_eq!(total(&metrics, "waltz_partition_quorum"), 0.0);

    let _second = Node::start(&directory(2), &flags);
    is_ready(&first);
}

#[test]
fn a_stopped_node_does_not_answer_and_lives_on_when_continued() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[HEALTH]);
    is_ready(&node);
    node.signal(Signal::STOP);
    assert_eq!(ask(&node, "/livez", Duration::from_millis(300)), None);
    node.signal(Signal::CONT);
    assert_eq!(get(&node, "/livez").0, 200);
    is_ready(&node);
}

/// Every name of a metric of ours, or of the process, in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("waltz_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// The metric that a series belongs to: histograms have three kinds of series.
fn metric_of(series: &str) -> &str {
    let part = ["_bucket", "_count", "_sum"].iter().find_map(|part| series.strip_suffix(part));
    part.unwrap_or(series)
}

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_the_dashboard_and_the_alerts_name_what_a_node_exports() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[HEALTH]);
    let exported = names(&get(&node, "/metrics").1);

    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|line| line.split_once('`')).map(|(name, _)| name.to_owned());
    let documented: BTreeSet<_> = rows.filter(|name| !name.starts_with('/')).collect();
    assert_eq!(documented, exported, "docs/metrics.md has every metric, and no other");

    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/waltz.json")).expect("the dashboard is JSON");
    let mut expressions = Vec::new();
    collect_expressions(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "the dashboard shows something");
    let alerts = read("deploy/prometheus/alerts.yml");
    let rules = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    expressions.extend(rules.map(str::to_owned));
    for expression in expressions {
        let used = named(&expression);
        assert!(!used.is_empty(), "{expression:?} names no metric");
        for series in used {
            let known = exported.contains(&series) || exported.contains(metric_of(&series));
            assert!(known, "no node exports {series}, which {expression:?} names");
        }
    }
}

/// All queries of a dashboard, wherever they are.
fn collect_expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" => found.push(text.to_owned()),
                    _ => collect_expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| collect_expressions(value, found));
        }
        _ => {}
    }
}
