//! Consumers that come while the storm goes on and begin with the first record, however much was
//! trimmed. Each is killed by the next one's coming; the last one has to reach the end.

use std::sync::Arc;
use std::time::Duration;

use madsim::time::{sleep, timeout};
use waltz_client::PartitionId;
use waltz_core::io::Address;
use waltz_core::time::Random;

use super::app::App;
use super::instance::start_client;
use super::{PATIENCE, Stage};

/// How long after one the next one comes, at least and at most.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(4_000));

/// Has them come until the storm is over. Says where the last one is if that is not the end.
pub(crate) async fn come(stage: &Stage, mut random: Random) -> Vec<String> {
    let (until, host) = (stage.world.now() + stage.plan.storm, Address("newcomer".to_owned()));
    let start = |app: &Arc<App<()>>| {
        let (stage, host, app) = (stage.clone(), host.clone(), app.clone());
        async move { start_client(&stage.world, &host, stage.client_config(), &app).await }
    };
    let new = || App::<()>::new(host.clone(), stage.witness.clone(), Duration::ZERO);
    let mut pause = || random.between(BETWEEN.0, BETWEEN.1);
    sleep(pause()).await;
    while stage.world.now() < until {
        let pause = pause();
        // One that does not connect in time is killed as well.
        drop(timeout(pause, start(&new())).await);
        sleep(pause).await;
    }
    let app = new();
    match timeout(stage.plan.storm + PATIENCE, async { start(&app).await.flush().await }).await {
        Ok(Ok(())) => Vec::new(),
        other => {
            let marks = (0..stage.plan.shape.partitions).map(|p| app.mark(PartitionId(p)).count());
            let marks: Vec<_> = marks.collect();
            vec![format!("a newcomer is at {marks:?} and no further: {other:?}")]
        }
    }
}
