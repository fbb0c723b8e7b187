//! Nodes whose disks fill up, on file systems of their own, as small as a few segments. They are
//! mounted by the test, which needs root; without it the test says so and does nothing more. The
//! same is simulated, and tested of the journal alone, without any rights.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::task::JoinSet;
use waltz_client::{
    AppendError, AppendRefusal, AppendRequest, Client, ClientConfig, NoDatabase, PartitionId,
    RefusedAppend, TransactionId,
};
use waltz_server::cluster::LocalCluster;

use super::load;

const P: PartitionId = PartitionId(0);
const RECORD_BYTES: usize = 200_000;
const AT_ONCE: usize = 32;

/// A file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let options = format!("size={mebibytes}m");
        let arguments = ["-t", "tmpfs", "-o", &options, "waltz-test"];
        run(Command::new("mount").args(arguments).arg(&path)).then_some(Self(path))
    }

    fn grow(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        assert!(run(Command::new("mount").args(["-o", &options]).arg(&self.0)));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Three nodes' directories; node 3 has the least room.
fn disks(directory: &Path) -> Option<Vec<SmallDisk>> {
    let sizes = [(1, 420), (2, 420), (3, 300)];
    let mount = |(node, size)| SmallDisk::mount(directory.join(format!("node-{node}")), size);
    sizes.into_iter().map(mount).collect()
}

async fn connect(cluster: &LocalCluster) -> Client {
    let config = ClientConfig::new(cluster.addresses()).request_timeout(Duration::from_secs(60));
    Client::connect(config, NoDatabase::newest()).await.unwrap()
}

fn record(number: u64) -> AppendRequest {
    AppendRequest::new([&number.to_le_bytes()[..], &vec![7; RECORD_BYTES]].concat())
}

/// Appends on their way, with their numbers, and what is acknowledged of them.
struct Appends {
    client: Client,
    next: u64,
    under_way: JoinSet<(u64, Result<TransactionId, AppendError>)>,
    acknowledged: BTreeMap<u64, u64>,
}

impl Appends {
    /// Appends until one is refused because disks are full. What was numbered before is under way.
    async fn until_full(&mut self) {
        loop {
            while self.under_way.len() < AT_ONCE {
                let (number, append) = (self.next, self.client.append(P, record(self.next)));
                self.next += 1;
                self.under_way.spawn(async move { (number, append.await) });
            }
            if !self.one_ends().await {
                return;
            }
        }
    }

    /// Waits for the next end of one; false if that is its refusal for want of space.
    async fn one_ends(&mut self) -> bool {
        let (number, ended) = self.under_way.join_next().await.unwrap().unwrap();
        match ended {
            Ok(id) => {
                assert_eq!(self.acknowledged.insert(id.0, number), None);
                true
            }
            Err(AppendError::Refused(RefusedAppend::Server(AppendRefusal::Full))) => false,
            Err(error) => panic!("{number}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_are_refused_while_disks_are_full_and_go_on_once_they_have_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disks) = disks(directory.path()) else {
        writeln!(std::io::stderr(), "no file system can be mounted: nothing was tested").unwrap();
        return;
    };
    let mut cluster = load::start(directory.path(), 3, 1).await;
    let client = connect(&cluster).await;
    let mut appends = Appends {
        client: client.clone(),
        next: 0,
        under_way: JoinSet::new(),
        acknowledged: BTreeMap::new(),
    };

    // Node 3 is full long before the others, and they go on without it.
    appends.until_full().await;
    let held = appends.acknowledged.len() * RECORD_BYTES;
    assert!((200 << 20..420 << 20).contains(&held), "{held} bytes");
    let log = load::read_numbers(&client, P).await;
    for (id, number) in &appends.acknowledged {
        assert_eq!(log.get(id), Some(number), "what is there can be read");
    }

    // A majority has room: what was under way ends, and more is taken.
    disks[1].grow(900);
    disks[2].grow(900);
    while !appends.under_way.is_empty() {
        appends.one_ends().await;
    }
    let after = appends.acknowledged.len() + AT_ONCE;
    while appends.acknowledged.len() < after {
        appends.under_way.spawn({
            let (number, append) = (appends.next, client.append(P, record(appends.next)));
            async move { (number, append.await) }
        });
        appends.next += 1;
        appends.one_ends().await;
    }
    assert_eq!(load::read_numbers(&client, P).await, appends.acknowledged);

    // Killed while node 1 is still full, all come back with all there was.
    for node in 0..3 {
        cluster.kill(node).await.unwrap();
    }
    for node in 0..3 {
        cluster.restart(node).await.unwrap();
    }
    let log = load::read_numbers(&connect(&cluster).await, P).await;
    assert_eq!(log, appends.acknowledged);
    client.close().await;
    cluster.stop(Duration::from_secs(60)).await.unwrap();
}
