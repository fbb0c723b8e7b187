//! etcd, a real one.

use waltz_coordinators::conformance::Subject;
use waltz_coordinators::{CoordinatorAddress, Engine, Port};
use waltz_databases::{CoordinatorKind, CoordinatorServer};
use waltz_runtime::CoordinatorPort;
use waltz_runtime_tokio::TokioTimer;

use crate::proxy::Proxy;
