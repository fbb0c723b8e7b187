//! Appends one transaction under a lock and follows the log until it comes by. It needs a node:
//! `cargo run --release -p waltz-server -- serve`.
#![expect(clippy::print_stdout, reason = "showing the log is what it is for")]

use waltz_client::*;

struct Deposit {
    account: u64,
    cents: u64,
}

impl TransactionContext for Deposit {
    fn partition(&self, partitions: u32) -> PartitionId {
        PartitionId((self.account % u64::from(partitions)) as u32)
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        let lock = PartitionLocalLock::new("account", self.account);
        builder.write_lock(lock).data_bytes(format!("{} to {}", self.cents, self.account));
        Ok(true)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (follower, mut feed) = Follower::new(Mark::NONE);
    let client = Client::connect(ClientConfig::new(["127.0.0.1:7400"]), follower).await?;
    let deposit = client.submit(Deposit { account: 7, cents: 100 });
    while let Some(transaction) = feed.next().await {
        let (partition, id) = (transaction.partition(), transaction.id());
        println!("{partition} {id} {:?}", transaction.bytes().await?);
        if transaction.req_id().client == client.id() {
            break;
        }
    }
    println!("{:?}", deposit.await);
    Ok(())
}
