//! Replicas that are lost for good and replaced, trimming, and recovery by force.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use waltz_client::PartitionId;
use waltz_server::cluster::LocalCluster;

use super::load;
use super::support::{Node, assert_fails, json_lines, stdout, waltz};

const PARTITION: PartitionId = PartitionId(0);
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills a node and takes its disk away.
async fn lose(cluster: &mut LocalCluster, index: usize) {
    cluster.kill(index).await.unwrap();
    let directories: Vec<_> = cluster.data_directories().map(|(_, data)| data.to_owned()).collect();
    std::fs::remove_dir_all(&directories[index]).unwrap();
}

fn status(address: &str) -> Value {
    let output = waltz(["status", "--json", "--server", address]);
    json_lines(&output).pop().expect("a status")
}

fn partition(address: &str) -> Value {
    status(address)["partitions"][0].clone()
}

/// The nodes of the partition's replica set.
fn nodes(partition: &Value) -> Vec<u64> {
    let members = partition["members"].as_array().unwrap();
    members.iter().map(|member| member["node"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_replicas_lose_two_for_good_get_two_new_ones_and_lose_two_others() {
    let directory = tempfile::tempdir().unwrap();
    let plan = load::plan(directory.path(), 5, 1);
    let mut cluster = LocalCluster::start(&plan).await.unwrap();
    let addresses = cluster.addresses();
    let coordinator = addresses[0].clone();
    load::check(addresses.clone(), PARTITION, async || {
        let grow = async || load::grow(addresses.clone(), PARTITION, 2_000).await;
        grow().await;
        for index in [3, 4] {
            lose(&mut cluster, index).await;
        }
        grow().await;
        for _ in 0..2 {
            cluster.add(&plan).await.unwrap();
        }
        let registered = |status: Value| status["nodes"].as_array().unwrap().len();
        while registered(status(&coordinator)) < 7 {
            tokio::task::yield_now().await;
        }
        let set = [
            "admin",
            "partition",
            "assign",
            "--partition=0",
            "--set=1,2,3,6,7",
            "--json",
            "--server",
        ];
        let moved = run(set, &coordinator).await;
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        let last = json_lines(&moved).pop().expect("progress is shown");
        assert_eq!((&last["done"], &last["replicas"]), (&json!(true), &json!([1, 2, 3, 6, 7])));
        for index in [1, 2] {
            lose(&mut cluster, index).await;
        }
        grow().await;
    })
    .await;
    let status = partition(&coordinator);
    assert_eq!((nodes(&status), &status["open"]), (vec![1, 2, 3, 6, 7], &json!(true)));
    cluster.stop(PATIENCE).await.unwrap();
}

/// Runs a command beside what goes on.
async fn run<const N: usize>(args: [&'static str; N], address: &str) -> std::process::Output {
    let address = address.to_owned();
    let command = move || {
        let mut command = std::process::Command::new(super::support::WALTZ);
        command.args(args).arg(address).output().expect("the program starts")
    };
    tokio::task::spawn_blocking(command).await.expect("the program ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_shown_and_comes_back_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = load::start(directory.path(), 3, 1).await;
    let coordinator = cluster.addresses()[0].clone();
    load::check(cluster.addresses(), PARTITION, async || {
        load::grow(cluster.addresses(), PARTITION, 500).await;
        lose(&mut cluster, 2).await;
        cluster.restart(2).await.unwrap();
        let state = || partition(&coordinator)["replicas"][2]["state"].clone();
        while state() != "wiped" {
            tokio::task::yield_now().await;
        }
        let set = ["admin", "partition", "assign", "--partition=0", "--set=1,2,3", "--server"];
        let moved = run(set, &coordinator).await;
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        assert!(stdout(&moved).contains("on nodes 1,2,3: done"), "{}", stdout(&moved));
        assert_eq!(state(), "joined");
        cluster.kill(1).await.unwrap();
        load::grow(cluster.addresses(), PARTITION, 500).await;
    })
    .await;
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_majority_is_recovered_from_by_force_after_it_was_told_what_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = load::start(directory.path(), 3, 1).await;
    let addresses = cluster.addresses();
    let recover = |survivors: &'static str, more: &'static str| {
        let args = ["admin", "partition", "recover", "--partition=0", survivors, more, "--server"];
        let [a, b, c, d, e, f, g] = args;
        waltz([a, b, c, d, e, f, g, &addresses[0]])
    };
    load::check(addresses.clone(), PARTITION, async || {
        load::grow(addresses.clone(), PARTITION, 500).await;
    })
    .await;
    assert_fails(&recover("--survivors=1", "--yes"), 1, "a majority of its replicas is there");
    for index in [1, 2] {
        lose(&mut cluster, index).await;
    }
    while partition(&addresses[0])["open"] == true {
        tokio::task::yield_now().await;
    }
    let unasked = recover("--survivors=1", "--json");
    assert_fails(&unasked, 1, "nothing was changed");
    assert_eq!(json_lines(&unasked)[0]["unknown"], json!([2, 3]));
    let planned = recover("--survivors=1", "--dry-run");
    assert!(stdout(&planned).contains("what only node 2, 3 held will be lost"));
    assert!(stdout(&planned).contains("planned: partition 0: recovery with what is left"));
    assert_fails(&recover("--survivors=2", "--yes"), 1, "n2 is not running");
    let recovered = recover("--survivors=1", "--yes");
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    let append = waltz(["append", "--partition=0", "--data=more", "--server", &addresses[0]]);
    assert!(append.status.success(), "{}", String::from_utf8_lossy(&append.stderr));
    assert_eq!(nodes(&partition(&addresses[0])), [1]);
    cluster.stop(PATIENCE).await.unwrap();
}

fn node(data: &Path, args: &[&str]) -> Node {
    let node = Node::start(data, args);
    let append = |n: u32| {
        let append = node.run(["append", "--partition=0", &format!("--data={n}")]);
        assert!(append.status.success());
    };
    (0..10).for_each(append);
    node
}

#[test]
fn trimmed_transactions_are_gone_and_readers_are_told() {
    let data = tempfile::tempdir().unwrap();
    let mut node = node(data.path(), &["--partitions=1"]);
    let trim = |to, more| node.run(["admin", "partition", "trim", "--partition=all", to, more]);
    assert_fails(&trim("--to=6", "--json"), 1, "add --yes");
    assert!(stdout(&trim("--to=6", "--dry-run")).contains("planned: partition 0"));
    assert_eq!(partition(&node.address)["start"], Value::Null);
    assert!(trim("--to=6", "--yes").status.success());
    assert_fails(&trim("--to=10", "--yes"), 1, "the log ends at 9");
    assert_fails(&node.run(["feed", "--partition=0"]), 1, "what is between was trimmed");
    let feed = node.run(["feed", "--partition=0", "--after=6", "--json"]);
    assert_eq!(json_lines(&feed).len(), 3);
    assert_eq!(node.stop(), Some(0));
    let node = Node::start(data.path(), &["--partitions=1"]);
    assert_fails(&node.run(["feed", "--partition=0", "--after=5"]), 1, "what is between was");
    assert_eq!(partition(&node.address)["start"], 6);
}

#[test]
fn consumers_are_registered_shown_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &["--partitions=1", "--trim-consumed"]);
    let set = ["consumer", "set", "--partition=0", "--name=audit", "--applied=7"];
    assert!(node.run(set).status.success());
    let shown = || partition(&node.address)["consumers"].clone();
    assert_eq!(shown(), json!([{"name": "audit", "applied": 7}]));
    let remove = ["consumer", "remove", "--partition=0", "--name=audit"];
    assert!(node.run(remove).status.success());
    assert_eq!(shown(), json!([]));
    assert_fails(&node.run(remove), 1, "no consumer \"audit\" is registered");
}

#[test]
fn wishes_that_can_not_be_granted_are_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let node = node(data.path(), &["--partitions=2"]);
    let assign = |partition, set| node.run(["admin", "partition", "assign", partition, set]);
    let set = |set| assign("--partition=0", set);
    assert!(stdout(&set("--set=1")).contains("nothing has to be moved"));
    assert_fails(&set("--set=1,1"), 1, "node 1 is named twice");
    assert_fails(&set("--set=1,9"), 1, "the cluster has no node 9");
    assert_fails(&set("--set="), 2, "invalid");
    assert_fails(&assign("--partition=1-2", "--set=1"), 1, "no partition 2");
    assert_fails(&assign("--partition=1-", "--set=1"), 2, "write partitions as");
    let trim = ["admin", "partition", "trim", "--partition=7", "--to=1", "--yes"];
    assert_fails(&node.run(trim), 1, "no partition 7");
}
