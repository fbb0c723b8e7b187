//! etcd, a real one.

use waltz_coordinators::conformance::Subject;
use waltz_coordinators::{CoordinatorAddress, Engine, Port};
use waltz_databases::{CoordinatorKind, CoordinatorServer};
use waltz_runtime::CoordinatorPort;
use waltz_runtime_tokio::TokioTimer;

use crate::proxy::Proxy;

struct Etcd {
    proxy: Proxy,
}

impl Subject for Etcd {
    type Timer = TokioTimer;

    fn open(&mut self) -> Box<dyn CoordinatorPort> {
        let address = CoordinatorAddress::new(Engine::Etcd, [self.proxy.address()]);
        Box::new(Port::connect(&address.expect("it is one"), "conformance"))
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    async fn cut(&mut self, is_cut: bool) {
        self.proxy.cut(is_cut);
    }
}

#[tokio::test]
async fn etcd_conforms() {
    let server = CoordinatorServer::start(CoordinatorKind::Etcd).expect("a server");
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port())).await;
    super::pass(&mut Etcd { proxy }).await;
}
