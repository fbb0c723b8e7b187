//! The embedded coordinator's machine, which is the specification.

use waltz_coordinators::MemoryCoordinator;
use waltz_coordinators::conformance::Subject;
use waltz_runtime::CoordinatorPort;
use waltz_runtime_tokio::TokioTimer;

struct Memory(MemoryCoordinator);

impl Subject for Memory {
    type Timer = TokioTimer;

    fn open(&mut self) -> Box<dyn CoordinatorPort> {
        Box::new(self.0.open(TokioTimer::new()))
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::new()
    }

    async fn cut(&mut self, is_cut: bool) {
        self.0.cut_all(is_cut);
    }
}

#[tokio::test]
async fn the_embedded_coordinator_conforms() {
    super::pass(&mut Memory(MemoryCoordinator::new())).await;
}
