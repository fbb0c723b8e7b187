//! Storage nodes and servers: drained, replaced, added, forgotten.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use waltz_server::cluster::LocalCluster;

use super::super::load;
use super::super::support::{assert_fails, json_lines, stdout, waltz};
use super::{PATIENCE, admin, five, lines, sets, verified, wipe};

/// What a list says of a node.
fn of(lines: Vec<Value>, node: u32) -> Value {
    lines.into_iter().find(|line| line["node"] == node).expect("it is listed")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_is_drained_and_takes_replicas_again_when_that_is_undone() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    let before = sets(&cluster).await;
    let planned = lines(&cluster, "storage drain 2 --dry-run").await;
    assert_eq!(planned.len(), 5, "the drain, and a move of each partition: {planned:?}");
    assert_eq!((sets(&cluster).await, before[0].contains(&2)), (before, true));
    let drained = lines(&cluster, "storage drain 2 --parallel=4").await;
    assert_eq!(drained.iter().filter(|line| line["done"] == true).count(), 4);
    assert!(sets(&cluster).await.iter().all(|set| set.len() == 3 && !set.contains(&2)));
    let listed = of(lines(&cluster, "storage list").await, 2);
    assert_eq!((&listed["drained"], &listed["replicas"]), (&json!(true), &json!(0)));
    assert!(stdout(&verified(&cluster).await).ends_with("pass\n"));
    lines(&cluster, "storage drain 2 --undo").await;
    // Placed by hand, and evened out: an empty node gets its share.
    let added = lines(&cluster, "storage add 2 --rebalance").await;
    assert!(added.iter().any(|line| line["done"] == true), "{added:?}");
    assert!(sets(&cluster).await.iter().any(|set| set.contains(&2)));
    let again = admin(&cluster, "storage add 2 --rebalance").await;
    assert!(stdout(&again).contains("nothing has to be moved"), "{}", stdout(&again));
    verified(&cluster).await;
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_replaced_by_itself_and_a_dead_one_by_others_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    assert_fails(&admin(&cluster, "storage replace 3 --with=4 --yes").await, 1, "no replacement");
    wipe(&mut cluster, 2).await;
    cluster.restart(2).await.unwrap();
    let wiped = async |cluster: &_| {
        let verdict = json_lines(&admin(cluster, "cluster verify --json").await).remove(0);
        let checks = verdict["checks"].as_array().unwrap().clone();
        let disks = checks.into_iter().find(|check| check["name"] == "disks keep what they had");
        disks.unwrap()["outcome"] == "fail"
    };
    while !wiped(&cluster).await {}
    assert_fails(&admin(&cluster, "storage replace 3").await, 1, "add --yes");
    let replaced = lines(&cluster, "storage replace 3 --yes --parallel=2").await;
    assert_eq!(replaced.iter().filter(|line| line["done"] == true).count(), 4);
    verified(&cluster).await;
    wipe(&mut cluster, 2).await;
    while of(lines(&cluster, "storage list").await, 3)["live"] == true {}
    assert_fails(&admin(&cluster, "storage remove 3 --yes").await, 1, "move that away first");
    lines(&cluster, "storage replace 3 --yes --parallel=4").await;
    assert!(sets(&cluster).await.iter().all(|set| set.len() == 3 && !set.contains(&3)));
    assert!(stdout(&verified(&cluster).await).contains("node 3 is down and has no replicas"));
    lines(&cluster, "storage remove 3 --yes").await;
    let left = lines(&cluster, "storage list").await;
    assert!(left.iter().all(|line| line["node"] != 3), "{left:?}");
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_drained_and_preferred() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    lines(&cluster, "server drain 1").await;
    let listed = of(lines(&cluster, "server list").await, 1);
    assert_eq!((&listed["drained"], &listed["partitions"]), (&json!(true), &json!([])));
    lines(&cluster, "server drain 1 --undo").await;
    lines(&cluster, "server prefer 4 --partition=0-3").await;
    let serves = async |cluster: &_| of(lines(cluster, "server list").await, 4);
    while serves(&cluster).await["partitions"] != json!([0, 1, 2, 3]) {}
    lines(&cluster, "server unprefer 4 --partition=0-3").await;
    assert_eq!(serves(&cluster).await["preferred"], json!([]));
    let region = lines(&cluster, "partition region --partition=1,3 --to=eu").await;
    assert_eq!(region[1]["request"]["PreferRegion"], json!({"partition": 3, "region": "eu"}));
    lines(&cluster, "partition region --partition=all --any").await;
    verified(&cluster).await;
    cluster.stop(PATIENCE).await.unwrap();
}

async fn append(cluster: &LocalCluster, partition: u32) {
    let address = cluster.addresses()[0].clone();
    let partition = format!("--partition={partition}");
    let run = move || waltz(["append", &partition, "--data=busy", "--server", &address]);
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_partitions_are_spread_over_servers_once_they_are_measured() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = load::start(directory.path(), 2, 4).await;
    verified(&cluster).await;
    let serves = async |cluster: &_, node| {
        let listed = of(lines(cluster, "server list").await, node)["partitions"].clone();
        serde_json::from_value::<BTreeSet<u32>>(listed).unwrap()
    };
    let busy = serves(&cluster, 1).await;
    assert_eq!(busy.len(), 2, "servers begin with equally many");
    let is_over = AtomicBool::new(false);
    let measured = async {
        let measured = lines(&cluster, "server balance --over=2s").await;
        is_over.store(true, Ordering::Relaxed);
        measured
    };
    let appended = async {
        while !is_over.load(Ordering::Relaxed) {
            for partition in &busy {
                append(&cluster, *partition).await;
            }
        }
    };
    let (measured, ()) = tokio::join!(measured, appended);
    let of_first = measured.iter().find(|line| line["node"] == 1).expect("each server is told of");
    assert!(of_first["transactions"].as_u64() > Some(0), "{measured:?}");
    while serves(&cluster, 1).await.intersection(&busy).count() != 1 {}
    assert_eq!(serves(&cluster, 1).await.len(), 2);
    verified(&cluster).await;
    lines(&cluster, "server balance --forget").await;
    cluster.stop(PATIENCE).await.unwrap();
}
