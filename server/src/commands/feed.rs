//! `waltz feed`

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde::Serialize;
use waltz_client::{FeedOptions, Mark, NoDatabase, PartitionId, Partitions, Transaction};

use super::connect::{config, connect, require_partition};
use crate::args::{ServerArgs, parse_mark};
use crate::exit::Exit;
use crate::output::Output;

/// Read a partition's log.
#[derive(Debug, Args)]
pub struct FeedArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Which log
    #[arg(long, value_name = "P")]
    partition: u32,

    /// Begin after this transaction: an id, or `none` for the beginning
    #[arg(long, value_name = "HWM", value_parser = parse_mark, default_value = "none")]
    after: Mark,

    /// Show the data, too
    #[arg(long)]
    data: bool,

    /// Go on with what is committed from now on, until stopped
    #[arg(long)]
    follow: bool,

    /// Stop after so many transactions
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Printed {
    id: u64,
    header: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached, or the log not be read to its end.
pub async fn run(args: FeedArgs) -> anyhow::Result<Exit> {
    let partition = PartitionId(args.partition);
    let config = config(&args.server).partitions(Partitions::none());
    let client = connect(config, NoDatabase::newest()).await?;
    require_partition(&client, partition).await?;
    let options = FeedOptions::new();
    let options = if args.data { options } else { options.headers_only() };
    let options = if args.follow { options } else { options.until_now() };
    let mut feed = client.feed_with(partition, args.after, options);
    let mut printer = Printer { left: args.count.unwrap_or(u64::MAX), args, output: Output::new() };
    if !printer.args.server.json {
        printer.print_header()?;
    }
    while printer.left > 0 {
        tokio::select! {
            biased;
            batch = feed.next_batch() => match batch {
                Some(batch) => {
                    let batch = batch.context("could not read the log to its end")?;
                    printer.print_all(&batch).await?;
                }
                None => break,
            },
            stopped = tokio::signal::ctrl_c(), if printer.args.follow => {
                stopped.context("could not listen for Ctrl-C")?;
                break;
            }
        }
    }
    printer.output.flush()?;
    Ok(Exit::Success)
}

struct Printer {
    args: FeedArgs,
    left: u64,
    output: Output,
}

impl Printer {
    fn print_header(&mut self) -> anyhow::Result<()> {
        let data = if self.args.data { "  data" } else { "" };
        Ok(self.output.line(format_args!("{:>12}  {:>10}{data}", "id", "header"))?)
    }

    async fn print_all(&mut self, batch: &[Transaction]) -> anyhow::Result<()> {
        for transaction in batch {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            self.print(transaction).await?;
        }
        Ok(self.output.flush()?)
    }

    async fn print(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        let (id, header) = (transaction.id().0, transaction.header());
        let mut printed = Printed { id, header, data: None, data_base64: None };
        if self.args.data {
            let bytes = transaction.bytes().await?;
            match std::str::from_utf8(&bytes) {
                Ok(text) => printed.data = Some(text.to_owned()),
                Err(_) => printed.data_base64 = Some(BASE64_STANDARD.encode(&bytes)),
            }
        }
        if self.args.server.json {
            return Ok(self.output.json(&printed)?);
        }
        let data = match printed {
            Printed { data: Some(text), .. } => format!("  {}", text.escape_debug()),
            Printed { data_base64: Some(text), .. } => format!("  base64:{text}"),
            _ => String::new(),
        };
        Ok(self.output.line(format_args!("{id:>12}  {header:>10}{data}"))?)
    }
}
