//! The cluster as a whole: made, enlarged, and given back to a coordinator that lost it.

use waltz_databases::{CoordinatorKind, CoordinatorServer};

use super::super::support::{Node, assert_fails, json_lines, waltz};
use super::{PATIENCE, admin, five, lines, sets, verified, wipe};

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_after_they_were_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    assert_fails(&admin(&cluster, "partition add --total=6").await, 1, "add --yes");
    lines(&cluster, "partition add --total=6 --dry-run").await;
    assert_eq!(sets(&cluster).await.len(), 4);
    lines(&cluster, "partition add --total=6 --yes").await;
    assert_eq!(sets(&cluster).await.len(), 6);
    assert_fails(&admin(&cluster, "partition add --total=5 --yes").await, 1, "only become more");
    verified(&cluster).await;
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_lost_its_disk_gets_the_cluster_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    let addresses = cluster.addresses();
    let append = |data: &str| {
        let output = waltz(["append", "--partition=1", data, "--server", &addresses[1]]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    append("--data=before");
    let known = admin(&cluster, "cluster restore --yes").await;
    assert_fails(&known, 1, "nothing has to be restored");
    // Enough disks without a replica come first, and no new cluster is made of them.
    for node in [1, 2] {
        cluster.kill(node).await.unwrap();
    }
    wipe(&mut cluster, 0).await;
    cluster.restart(0).await.unwrap();
    let refused = "belongs to a cluster that the coordinator does not know";
    while lines(&cluster, "storage list").await.len() < 3 {}
    assert_fails(&admin(&cluster, "cluster create --partitions=4 --replicas=3").await, 1, refused);
    for node in [1, 2] {
        cluster.restart(node).await.unwrap();
    }
    // The nodes come back to it one after the other.
    let planned = loop {
        let planned = admin(&cluster, "cluster restore --dry-run --json").await;
        if planned.status.success() {
            break json_lines(&planned);
        }
    };
    assert_eq!(planned.len(), 5, "four partitions and the request: {planned:?}");
    assert_fails(&admin(&cluster, "cluster restore").await, 1, "add --yes");
    lines(&cluster, "cluster restore --yes").await;
    lines(&cluster, "storage replace 1 --yes --parallel=4").await;
    verified(&cluster).await;
    append("--data=after");
    let read = waltz(["feed", "--partition=1", "--json", "--server", &addresses[0]]);
    assert_eq!(json_lines(&read).len(), 2, "nothing is lost");
    cluster.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cluster_serves_nothing_and_is_on_its_disks() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = five(directory.path()).await;
    verified(&cluster).await;
    let address = cluster.addresses()[0].clone();
    let append = || waltz(["append", "--partition=3", "--data=kept", "--server", &address]);
    assert!(append().status.success());
    assert_fails(&admin(&cluster, "cluster delete").await, 1, "add --yes");
    lines(&cluster, "cluster delete --dry-run").await;
    assert_eq!(sets(&cluster).await.len(), 4);
    lines(&cluster, "cluster delete --yes").await;
    assert_fails(&admin(&cluster, "partition list").await, 1, "the cluster has no partitions");
    assert_fails(
        &admin(&cluster, "cluster delete --yes").await,
        1,
        "the coordinator knows no cluster",
    );
    let create = admin(&cluster, "cluster create --partitions=4 --replicas=3").await;
    assert_fails(&create, 1, "belongs to a cluster that the coordinator does not know");
    lines(&cluster, "cluster restore --yes").await;
    verified(&cluster).await;
    assert!(append().status.success());
    let read = waltz(["feed", "--partition=3", "--json", "--server", &address]);
    assert_eq!(json_lines(&read).len(), 2, "nothing is lost");
    cluster.stop(PATIENCE).await.unwrap();
}

#[test]
fn a_cluster_is_made_where_no_node_was_told_to_make_one() {
    let coordinator = CoordinatorServer::start(CoordinatorKind::Etcd).unwrap();
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), &[&format!("--coordinator={}", coordinator.address())]);
    let create = |more| node.run(["admin", "cluster", "create", "--partitions=3", more]);
    assert_fails(&create("--replicas=0"), 2, "0 is not in 1..=7");
    // Until the node has registered there are too few storages.
    while !create("--replicas=1").status.success() {}
    assert_fails(&create("--replicas=1"), 1, "knows a cluster already, of 3 partitions");
    let append = node.run(["append", "--partition=2", "--data=made"]);
    assert!(append.status.success(), "{}", String::from_utf8_lossy(&append.stderr));
}
