//! Appends one transaction under a lock and reads the log that it is in. It needs a node:
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
    let config = ClientConfig::new(["127.0.0.1:7400"]);
    let client = Client::connect(config, NoDatabase::newest()).await?;
    let deposit = Deposit { account: 7, cents: 100 };
    let partition = deposit.partition(client.cluster().await?.partitions.len() as u32);
    println!("{:?}", client.submit(deposit).await);
    let mut feed = client.feed_with(partition, Mark::NONE, FeedOptions::new().until_now());
    while let Some(transaction) = feed.next().await {
        let transaction = transaction?;
        println!("{partition} {} {:?}", transaction.id(), transaction.bytes().await?);
    }
    Ok(())
}
