//! What a call costs in memory: `cargo bench -p waltz-client`.
//!
//! Client, network and node run on this one thread, so that what is counted is theirs together: an
//! upper bound of the client's own.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use waltz_client::testing::TestCluster;
use waltz_client::{
    Append, AppendRequest, CallbackError, Client, NoDatabase, Outcome, PartitionId, Submission,
    TransactionBuilder, TransactionContext,
};

const P: PartitionId = PartitionId(0);
const CALLS: usize = 10_000;
const DATA: Bytes = Bytes::from_static(&[7; 100]);

struct Write;

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        builder.data_bytes(DATA);
        Ok(true)
    }
}

fn main() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let cluster = runtime.block_on(async { TestCluster::start() });
    let client = runtime.block_on(async {
        let config = cluster.client_config().max_outstanding(CALLS);
        cluster.connect(config, NoDatabase::newest()).await.expect("the cluster is there")
    });
    // What grows once has grown before anything is counted.
    append_all(&runtime, &client);
    submit_all(&runtime, &client);
    report("an append", measure(|| append_all(&runtime, &client)));
    report("a submission", measure(|| submit_all(&runtime, &client)));
    cluster.suspend_feeds();
    let mut outstanding: Vec<Append> = Vec::with_capacity(CALLS);
    let held = measure(|| {
        outstanding.extend((0..CALLS).map(|_| client.append(P, AppendRequest::new(DATA))));
        // The node commits them all, and nobody is told.
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_secs(1)).await });
    });
    let bytes = held.bytes_current / CALLS as i64;
    line(format_args!("an outstanding append of 100 bytes holds {bytes} bytes of memory"));
    cluster.resume_feeds();
    for append in outstanding {
        runtime.block_on(append).expect("it is committed");
    }
    Ok(())
}

fn append_all(runtime: &Runtime, client: &Client) {
    let appends: Vec<_> = (0..CALLS).map(|_| client.append(P, AppendRequest::new(DATA))).collect();
    for append in appends {
        runtime.block_on(append).expect("it is committed");
    }
}

fn submit_all(runtime: &Runtime, client: &Client) {
    let submissions: Vec<Submission> = (0..CALLS).map(|_| client.submit(Write)).collect();
    for submission in submissions {
        let outcome = runtime.block_on(submission);
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
}

fn report(what: &str, info: AllocationInfo) {
    let count = info.count_total as f64 / CALLS as f64;
    let bytes = info.bytes_total as f64 / CALLS as f64;
    line(format_args!(
        "{what} of 100 bytes makes {count:.2} allocations, of {bytes:.0} bytes in all"
    ));
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn line(text: std::fmt::Arguments<'_>) {
    println!("{text}");
}
