//! Finds out what became of an attempt whose own client can't tell: that has ended, or has followed
//! the log past it.
//!
//! A machine of the same client id mounts the partition anew, from where the attempt is known not
//! to be in the log. A server refuses whatever older mounts of that id send from then on, and says
//! that the mount is ready only when everything from before is decided and fed. So an attempt that
//! has not come by then never will.

use std::sync::Arc;

use tokio::sync::mpsc;
use waltz_core::client::{Answer, ClientConfig, ClientMachine, InDoubt, Partitions, Unanswered};
use waltz_core::id::{Mark, PartitionId};
use waltz_core::wire::{FeedMode, Refusal};
use waltz_runtime::Runtime;

use super::{Handles, start};
use crate::call::{Question, Shared, ask};
use crate::callbacks::ClientCallbacks;
use crate::error::CallbackError;
use crate::telemetry::Telemetry;
use crate::transaction::Transaction;

/// Looks through the log after a mark.
struct Seeker {
    after: Mark,
}

impl ClientCallbacks for Seeker {
    async fn high_water_mark(&self, _: PartitionId) -> Result<Mark, CallbackError> {
        Ok(self.after)
    }

    async fn apply_transaction(&self, _: &Transaction) -> Result<(), CallbackError> {
        Ok(())
    }

    async fn apply_batch(&self, batch: &[Transaction]) -> (usize, Result<(), CallbackError>) {
        (batch.len(), Ok(()))
    }
}

/// What became of an attempt.
pub(super) async fn seek<R: Runtime>(
    runtime: R,
    config: ClientConfig,
    in_doubt: InDoubt,
) -> Result<Answer, Unanswered> {
    let partitions = Partitions::from_iter([in_doubt.partition()]);
    let attempt = in_doubt.cluster;
    let config = config.cluster(attempt).partitions(partitions).feed(FeedMode::Headers);
    let (calls, receiver) = mpsc::unbounded_channel();
    let shared = Shared::new(config.max_pending, config.max_pending_bytes, Telemetry::silent());
    let handles = Handles { calls: receiver, weak: calls.downgrade(), shared };
    let client = in_doubt.req_id.client;
    let machine = ClientMachine::succeeding(client, config.clone(), runtime.random());
    start(runtime, machine, config, Arc::new(Seeker { after: in_doubt.mark }), handles);
    match ask(&calls, Question::Describe { formed: true }).await {
        Err(Unanswered::Hello(Refusal::Cluster(client))) => {
            return Err(Unanswered::OtherCluster { attempt, client });
        }
        described => described?,
    };
    ask(&calls, Question::Resolve(in_doubt)).await
}

#[cfg(test)]
mod tests {
    use waltz_core::id::{ClientId, ClusterKey, Generation, ReqId};

    use super::*;
    use crate::tests::loopback::{CLUSTER, Loopback, P};

    #[tokio::test]
    async fn a_cluster_that_the_attempt_was_not_sent_to_is_not_asked() {
        let (client, generation, sequence) = (ClientId(7), Generation(1), 0);
        let req_id = ReqId { client, generation, partition: P, sequence };
        let attempt = ClusterKey(CLUSTER.0 + 1);
        let in_doubt = InDoubt { cluster: attempt, req_id, mark: Mark::NONE };
        let sought = seek(Loopback::default(), ClientConfig::new(["here"]), in_doubt).await;
        assert_eq!(sought, Err(Unanswered::OtherCluster { attempt, client: CLUSTER }));
    }
}
