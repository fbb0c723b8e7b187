//! A read model in a store that is not SQL: a search index in memory, whose snapshot holds the
//! index and the high-water marks together.
//!
//! It appends articles, takes a snapshot, appends more, and stops without another snapshot, as a
//! crash would. Begun again it reads only what the snapshot lacks, and has the same index as one that
//! was built from the beginning of the log. Needs a node: `cargo run --release -p waltz-server -- serve`.
#![expect(clippy::print_stdout, reason = "it shows what it did")]

mod index;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use waltz_client::{AppendRequest, Client, ClientConfig, PartitionId, partition_of};

use crate::index::{Contents, SearchIndex};

const WORDS: [&str; 7] = ["append", "commit", "feed", "lock", "log", "mark", "quorum"];

/// A search index over articles in a Waltz log.
#[derive(Debug, Parser)]
struct Arguments {
    /// The address of any node
    #[arg(long, default_value = "127.0.0.1:7400")]
    node: String,
    /// Where the index is kept
    #[arg(long, default_value = "waltz-articles.json")]
    snapshot: PathBuf,
    /// How many articles to append
    #[arg(long, default_value_t = 200)]
    articles: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { node, snapshot, articles } = Arguments::parse();
    let half = articles / 2;

    let (client, index) = start(&node, &snapshot).await?;
    append(&client, 0..half).await?;
    let saved = save(&client, &index).await?;
    println!("{:>6} articles in the snapshot", saved.len());

    append(&client, half..articles).await?;
    println!("{:>6} articles in memory when it stops", index.contents().len());
    client.close().await;

    let (client, index) = start(&node, &snapshot).await?;
    client.flush().await?;
    let caught_up = index.contents();
    println!("{:>6} articles after it was begun again", caught_up.len());
    save(&client, &index).await?;
    client.close().await;

    let nothing = snapshot.with_extension("none");
    let (client, index) = start(&node, &nothing).await?;
    client.flush().await?;
    client.close().await;
    ensure!(index.contents() == caught_up, "an index that is built from the log differs");
    println!();
    for word in WORDS {
        println!("{word:>6} is in {:>6} articles", caught_up.articles_with(word));
    }
    println!("\nthe index is the same as one built from the beginning of the log");
    Ok(())
}

async fn start(node: &str, snapshot: &Path) -> anyhow::Result<(Client, SearchIndex)> {
    let index = SearchIndex::open(snapshot)
        .with_context(|| format!("could not read {}", snapshot.display()))?;
    let client = Client::connect(ClientConfig::new([node]), index.clone()).await?;
    Ok((client, index))
}

/// Articles depend on nothing: they need no locks, and no context that computes them again.
async fn append(client: &Client, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let partitions = client.cluster().await?.partitions.len() as u32;
    let appends: Vec<_> = numbers
        .map(|number| {
            let partition = partition_of(number.to_le_bytes(), partitions);
            client.append(partition, AppendRequest::new(article(number)))
        })
        .collect();
    for append in appends {
        append.await?;
    }
    client.flush().await?;
    Ok(())
}

fn article(number: u64) -> String {
    let word = |step: u64| WORDS[(number * step + step) as usize % WORDS.len()];
    [word(1), word(2), word(4)].join(" ")
}

/// Takes a snapshot and has the log keep what is not in it.
async fn save(client: &Client, index: &SearchIndex) -> anyhow::Result<Contents> {
    let saved = index.save().context("could not write the snapshot")?;
    let marks: Vec<(PartitionId, _)> = saved.marks().collect();
    for (partition, mark) in marks {
        client.advance_consumer(partition, "read_model", mark).await?;
    }
    Ok(saved)
}
