//! The demo and the benchmarks, small.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::support::{WALTZ, assert_fails, json_lines, signal, waltz};

#[test]
fn the_bank_survives_kills_of_every_node() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data={}", directory.path().display());
    let output = waltz([
        "demo",
        "bank",
        "--json",
        "--transfers=600",
        "--accounts=40",
        "--kill-every=500ms",
        &data,
    ]);
    let report = &json_lines(&output)[0];
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["sound"], true);
    assert_eq!(report["submitted"], 600);
    assert!(report["kills_survived"].as_u64().unwrap() >= 3, "{report}");
    assert!(report["conflicts"].as_u64().unwrap() > 0, "{report}");
    let transactions: u64 = partitions(report).iter().map(|(_, transactions)| transactions).sum();
    assert_eq!(Some(transactions), report["committed"].as_u64());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn every_part_is_bounced_and_all_checksums_are_equal() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data={}", directory.path().display());
    let bounced = ["--transactions=20000", "--bounce-every=400ms"];
    let output = waltz(["demo", "smoke", "--json", bounced[0], bounced[1], &data]);
    let report = &json_lines(&output)[0];
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["sound"], true);
    assert!(report["transactions"].as_u64().unwrap() >= 20_000, "{report}");
    let bounces = report["bounces"].as_object().unwrap();
    assert_eq!(bounces.len(), 9, "a coordinator, three servers, three storages, two clients");
    assert!(bounces.values().all(|count| count.as_u64().unwrap() > 0), "{report}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

fn partitions(report: &Value) -> Vec<(u64, u64)> {
    let number = |value: &Value| value.as_u64().expect("a number");
    let partitions = report["partitions"].as_array().expect("partitions");
    partitions.iter().map(|p| (number(&p["partition"]), number(&p["transactions"]))).collect()
}

#[test]
fn a_ledger_is_played_and_its_own_balances_are_the_judge() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data={}", directory.path().display());
    let path = directory.path().join("ledger.csv");
    let input = format!("--input={}", path.display());
    let mut rows = "date,transaction,account,amount_cents,balance_cents\n".to_owned();
    for row in 0..40 {
        let (account, balance) = (row % 4, (row / 4 + 1) * 100);
        rows += &format!("1993-01-01,{row},{account},100,{balance}\n");
    }
    std::fs::write(&path, &rows).unwrap();
    let played = waltz(["demo", "bank", "--json", "--kill-every=0", &data, &input]);
    let report = &json_lines(&played)[0];
    assert_eq!(played.status.code(), Some(0), "{report}");
    assert_eq!(partitions(report), [(0, 10), (1, 10), (2, 10), (3, 10)]);

    std::fs::write(&path, rows.replace("1993-01-01,21,1,100,600", "1993-01-01,21,1,100,601"))
        .unwrap();
    let wrong = waltz(["demo", "bank", "--json", "--kill-every=0", &data, &input]);
    assert_eq!(wrong.status.code(), Some(1));
    let report = &json_lines(&wrong)[0];
    let violations: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|check| check["violations"].as_array().unwrap())
        .collect();
    assert_eq!(violations, ["line 23: the bank has balance 601, the log yields Some(600)"]);
}

#[test]
fn the_benchmarks_say_what_they_measured() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data={}", directory.path().display());
    let output = waltz([
        "bench",
        "append",
        "--json",
        "--duration=200ms",
        "--in-flight=20",
        "--partitions=3",
        "--connections=2",
        "--locks=8",
        &data,
    ]);
    let report = &json_lines(&output)[0];
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report["committed"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["failed"], 0);
    assert_eq!(
        (&report["durable"]["replicas"], &report["durable"]["quorum"]),
        (&3.into(), &2.into())
    );
    let output =
        waltz(["bench", "feed", "--json", "--duration=1ms", "--records=5000", "--nodes=1", &data]);
    let report = &json_lines(&output)[0];
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!((&report["stored"], &report["records"]), (&5000.into(), &5000.into()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_interrupted_demo_leaves_neither_processes_nor_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Command::new(WALTZ)
        .args(["demo", "bank", "--kill-every=60s"])
        .arg(format!("--data={}", directory.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    let nodes_are_up = || {
        let mut made = std::fs::read_dir(directory.path()).unwrap();
        made.next()
            .is_some_and(|made| log(&made.unwrap().path().join("node-3.log")).contains("opened"))
    };
    while !nodes_are_up() {
        assert!(demo.try_wait().unwrap().is_none(), "the demo goes on for minutes");
        std::thread::yield_now();
    }
    signal(&demo, Signal::INT);
    let output = demo.wait_with_output().unwrap();
    assert_fails(&output, 1, "interrupted");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}
