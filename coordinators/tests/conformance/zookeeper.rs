//! ZooKeeper, a real one.

use waltz_coordinators::conformance::Subject;
use waltz_coordinators::{CoordinatorAddress, Engine, Port};
use waltz_databases::{CoordinatorKind, CoordinatorServer};
use waltz_runtime::CoordinatorPort;
use waltz_runtime_tokio::TokioTimer;

use crate::proxy::Proxy;

struct ZooKeeper(Proxy);

impl Subject for ZooKeeper {
    type Timer = TokioTimer;

    fn open(&mut self) -> Box<dyn CoordinatorPort> {
        let address = CoordinatorAddress::new(Engine::ZooKeeper, [self.0.address()]);
        Box::new(Port::connect(&address.expect("a proxy is a member"), "conformance"))
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    async fn cut(&mut self, is_cut: bool) {
        self.0.cut(is_cut);
    }
}

#[tokio::test]
async fn zookeeper_conforms() {
    let server = CoordinatorServer::start(CoordinatorKind::ZooKeeper).expect("a server");
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port())).await;
    super::pass(&mut ZooKeeper(proxy)).await;
}
