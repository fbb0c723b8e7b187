//! What operators do, on clusters of real nodes.

mod cluster;
mod nodes;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use waltz_server::cluster::{ClusterPlan, LocalCluster};

use super::load;
use super::support::{Node, WALTZ, assert_fails, json_lines, stdout};

const PATIENCE: Duration = Duration::from_secs(60);

/// Five nodes, four partitions of three replicas: on nodes 1 to 3, as they are made once these have
/// registered.
async fn five(directory: &Path) -> LocalCluster {
    let plan = ClusterPlan { replicas: 3, ..load::plan(directory, 5, 4) };
    LocalCluster::start(&plan).await.unwrap()
}

/// Runs `waltz admin` with these words, beside what goes on.
async fn admin(cluster: &LocalCluster, words: &str) -> Output {
    let mut command = Command::new(WALTZ);
    command.arg("admin").args(words.split(' ')).arg(format!("--server={}", cluster.addresses()[0]));
    command.stdin(std::process::Stdio::null());
    let run = move || command.output().expect("the program starts");
    tokio::task::spawn_blocking(run).await.expect("the program ends")
}

/// Runs it and has it succeed; what it printed, line by line.
async fn lines(cluster: &LocalCluster, words: &str) -> Vec<Value> {
    let output = admin(cluster, &format!("{words} --json")).await;
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    json_lines(&output)
}

/// Looks again until everything holds: just after a change not everybody has heard of it.
async fn verified(cluster: &LocalCluster) -> Output {
    loop {
        let output = admin(cluster, "cluster verify").await;
        if output.status.success() {
            return output;
        }
    }
}

/// Kills a node and takes its disk away.
async fn wipe(cluster: &mut LocalCluster, index: usize) {
    cluster.kill(index).await.unwrap();
    let data = cluster.data_directories().nth(index).unwrap().1.to_owned();
    std::fs::remove_dir_all(data).unwrap();
}

/// The nodes of each partition's replicas.
async fn sets(cluster: &LocalCluster) -> Vec<Vec<u64>> {
    let nodes = |line: Value| {
        let members = line["members"].as_array().unwrap().clone();
        members.iter().map(|member| member["node"].as_u64().unwrap()).collect()
    };
    lines(cluster, "partition list").await.into_iter().map(nodes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_is_verified_and_one_with_a_dead_node_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    let passed = verified(&cluster).await;
    assert!(stdout(&passed).ends_with("pass\n"), "{}", stdout(&passed));
    let described = lines(&cluster, "cluster describe").await.remove(0);
    assert_eq!((&described["live"], &described["open"]), (&json!(5), &json!(4)));
    assert_eq!(lines(&cluster, "storage list").await.len(), 5);
    let reached = lines(&cluster, "connectivity").await;
    assert!(reached.iter().all(|reach| reach["coordinator"] == true), "{reached:?}");
    let held = |line: &Value| line["partitions"].as_array().unwrap().len();
    assert_eq!(lines(&cluster, "server list").await.iter().map(held).sum::<usize>(), 4);
    cluster.kill(2).await.unwrap();
    let failed = loop {
        let output = admin(&cluster, "cluster verify --json").await;
        let verdict = json_lines(&output).remove(0);
        let checks = verdict["checks"].as_array().unwrap().clone();
        let joined = checks.into_iter().find(|check| check["name"] == "all replicas have joined");
        if joined.unwrap()["outcome"] == "fail" {
            break output;
        }
    };
    assert_eq!(failed.status.code(), Some(1));
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_move_between_nodes_and_a_dry_run_moves_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    let before = sets(&cluster).await;
    assert_eq!(before, vec![vec![1, 2, 3]; 4]);
    let words = "partition move --partition=1-2 --from=1 --to=5 --parallel=2";
    let planned = lines(&cluster, &format!("{words} --dry-run")).await;
    let request = |partition: u32| json!({"partition": partition, "nodes": [2, 3, 5]});
    let planned: Vec<_> = planned.iter().map(|line| &line["request"]["SetReplicas"]).collect();
    assert_eq!(planned, [&request(1), &request(2)]);
    assert_eq!(sets(&cluster).await, before, "a dry run changes nothing");
    let moved = lines(&cluster, words).await;
    assert_eq!(moved.iter().filter(|line| line["done"] == true).count(), 2);
    let moved = vec![2, 3, 5];
    assert_eq!(sets(&cluster).await[..3], [vec![1, 2, 3], moved.clone(), moved]);
    let again = admin(&cluster, words).await;
    assert!(stdout(&again).contains("nothing has to be moved"));
    verified(&cluster).await;
    cluster.stop(PATIENCE).await.unwrap();
}

#[test]
fn what_can_not_be_is_refused_before_anything_is_asked() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &["--partitions=2"]);
    let run = |words: &str| {
        let mut command = Command::new(WALTZ);
        command.arg("admin").args(words.split(' ')).arg(format!("--server={}", node.address));
        command.stdin(std::process::Stdio::null()).output().expect("the program starts")
    };
    let append = node.run(["append", "--partition=0", "--data=made"]);
    assert!(append.status.success(), "{}", String::from_utf8_lossy(&append.stderr));
    assert_fails(&run("partition move --from=1 --to=2"), 1, "no node 2");
    assert_fails(&run("partition move --partition=5 --from=1 --to=2"), 1, "it has 0 to 1");
    assert_fails(&run("partition trim --partition=all --to=0"), 1, "add --yes");
    assert_fails(&run("partition describe --partition=x"), 2, "write partitions as all, 0, 0-3");
    assert_fails(&run("storage"), 2, "Usage");
}
