//! A Waltz node in this process.

use std::net::TcpListener;
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::sync::oneshot;
use waltz_client::{Address, ClientConfig, ClusterKey, NodeId};
use waltz_core::limits::Limits;
use waltz_core::membership::ControllerConfig;
use waltz_core::node::{CoordinatorAt, Node, NodeConfig, Recovered};
use waltz_core::planted::Planted;
use waltz_runtime::journal::{Journal, JournalConfig};
use waltz_runtime::node::{World, run_node};
use waltz_runtime_tokio::{FileDisk, JournalThread, TcpNet, TokioTimer, run_shard};

const CLUSTER: ClusterKey = ClusterKey(7);
const NODE: NodeId = NodeId(1);

/// A cluster of one node, on a thread of its own; it ends when dropped.
pub(crate) struct TestNode {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl TestNode {
    pub(crate) fn start(partitions: u32) -> Self {
        let directory = TempDir::new().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens").to_string();
        let limits = Limits::default();
        let shape = ControllerConfig::new(partitions, 1, 1).expect("one node is enough");
        let coordinator = CoordinatorAt::Here(shape);
        let config = NodeConfig::new(NODE, CLUSTER, Address(address.clone()), coordinator);
        let disk = FileDisk::open(directory.path().join("journal")).expect("a directory");
        let journal = JournalConfig {
            cluster: CLUSTER,
            node: NODE,
            segment_bytes: 32 << 20,
            limits,
            planted: Planted::NONE,
        };
        let random = waltz_runtime_tokio::runtime::random;
        let mut recovered = Recovered::new(limits, Planted::NONE);
        let (journal, recovery) =
            Journal::open(disk.clone(), journal, random(), &mut recovered).expect("it opens");
        let node = Node::new(config, recovered, recovery.storage, random());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let ran = run_shard(async move {
                let net = TcpNet::listening(listener, limits).expect("it listens");
                let journal = JournalThread::start(journal, disk).expect("threads are to be had");
                let world = World {
                    net,
                    journal,
                    timer: TokioTimer::new(),
                    coordinator: None,
                    archive: None,
                    observer: None,
                };
                let stopped = async { drop(stopped.await) };
                run_node(node, world, Box::new(|_| {}), stopped).await
            });
            ran.expect("the loop runs");
        });
        Self { address, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::new([self.address.clone()]).cluster(CLUSTER)
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the node panicked");
        }
    }
}
