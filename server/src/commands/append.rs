//! `waltz append`

use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use waltz_client::{
    AppendError, AppendRequest, Client, LockId, Mark, NoDatabase, PartitionId, Partitions,
    TransactionId,
};
use waltz_core::limits::Limits;

use super::connect::{config, connect, require_partition};
use super::window::Window;
use crate::args::{LockName, ServerArgs, parse_mark};
use crate::exit::{Exit, is_denied_append};
use crate::output::Output;

/// Lines of standard input that are under way at once.
const PIPELINE: usize = 1024;

/// Append transactions.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true).multiple(false))]
pub struct AppendArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Where to append
    #[arg(long, value_name = "P")]
    partition: u32,

    /// The application's own 32 bits
    #[arg(long, value_name = "N", default_value_t = 0)]
    header: u32,

    /// Conflict with other changes of this lock since the mark, and change it
    #[arg(long, value_name = "NAME:ID")]
    write_lock: Vec<LockName>,

    /// Conflict with changes of this lock since the mark
    #[arg(long, value_name = "NAME:ID")]
    read_lock: Vec<LockName>,

    /// Change this lock without conflicting with other changes
    #[arg(long, value_name = "NAME:ID")]
    append_lock: Vec<LockName>,

    /// The last transaction that was seen when this one was computed: an id, or `none` [default:
    /// the newest there is]
    #[arg(long, value_name = "HWM", value_parser = parse_mark)]
    at: Option<Mark>,

    /// The data
    #[arg(long, value_name = "TEXT", group = "input")]
    data: Option<String>,

    /// Read the data from a file
    #[arg(long, value_name = "FILE", group = "input")]
    file: Option<PathBuf>,

    /// `-`: append each line of standard input, many under way at once; answers come in order
    #[arg(value_name = "-", value_parser = ["-"], group = "input")]
    lines: Option<String>,

    /// The largest record to send, in bytes with its header and locks
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().record)]
    max_record: u32,
}

#[derive(Debug, Serialize)]
struct Printed {
    partition: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<PrintedConflict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct PrintedConflict {
    id: u64,
    lock: String,
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached or the input not be read.
pub async fn run(args: AppendArgs) -> anyhow::Result<Exit> {
    let single = match (&args.data, &args.file) {
        (Some(text), _) => Some(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(path)) => {
            let data = std::fs::read(path)
                .with_context(|| format!("could not read {}", path.display()))?;
            Some(data.into())
        }
        (None, None) => None,
    };
    let partition = PartitionId(args.partition);
    let limits = Limits { record: args.max_record, ..Limits::default() };
    let config = config(&args.server)
        .partitions(Partitions::from_iter([partition]))
        .max_outstanding(PIPELINE)
        .limits(limits);
    let client = connect(config, NoDatabase::newest()).await?;
    require_partition(&client, partition).await?;
    let mut appender = Appender { client, args, output: Output::new(), exit: Exit::Success };
    match single {
        Some(data) => appender.append_one(data).await?,
        None => appender.append_lines(BufReader::new(tokio::io::stdin()).lines()).await?,
    }
    appender.client.close().await;
    Ok(appender.exit)
}

struct Appender {
    client: Client,
    args: AppendArgs,
    output: Output,
    exit: Exit,
}

impl Appender {
    async fn append_one(&mut self, data: Bytes) -> anyhow::Result<()> {
        let answer = self.client.append(self.partition(), self.request(data)).await;
        self.print(answer)?;
        Ok(self.output.flush()?)
    }

    async fn append_lines(&mut self, mut lines: Lines<BufReader<Stdin>>) -> anyhow::Result<()> {
        let (mut window, mut open) = (Window::new(), true);
        while open || !window.is_empty() {
            tokio::select! {
                biased;
                ((), answer) = window.next(), if !window.is_empty() => {
                    self.print(answer)?;
                    while let Some(((), answer)) = window.next_ready().await {
                        self.print(answer)?;
                    }
                    self.output.flush()?;
                }
                line = lines.next_line(), if open && window.len() < PIPELINE => {
                    match line.context("could not read standard input")? {
                        Some(line) => {
                            let request = self.request(line.into());
                            window.push((), self.client.append(self.partition(), request));
                        }
                        None => open = false,
                    }
                }
            }
        }
        Ok(())
    }

    fn partition(&self) -> PartitionId {
        PartitionId(self.args.partition)
    }

    fn request(&self, data: Bytes) -> AppendRequest {
        let mut request = AppendRequest::new(data).header(self.args.header);
        for lock in &self.args.write_lock {
            request = request.write_lock(lock.id());
        }
        for lock in &self.args.read_lock {
            request = request.read_lock(lock.id());
        }
        for lock in &self.args.append_lock {
            request = request.append_lock(lock.id());
        }
        match self.args.at {
            Some(mark) => request.at(mark),
            None => request,
        }
    }

    /// As it was given on the command line; the log knows its hash only.
    fn lock_name(&self, id: LockId) -> String {
        let mut locks = self.args.write_lock.iter().chain(&self.args.read_lock);
        locks.find(|lock| lock.id() == id).map_or_else(|| id.to_string(), LockName::to_string)
    }

    fn print(&mut self, answer: Result<TransactionId, AppendError>) -> anyhow::Result<()> {
        let partition = self.args.partition;
        let mut printed = Printed { partition, id: None, conflict: None, error: None };
        match answer {
            Ok(id) => printed.id = Some(id.0),
            Err(AppendError::Conflict { id, lock, .. }) => {
                printed.conflict = Some(PrintedConflict { id: id.0, lock: self.lock_name(lock) });
                if !matches!(self.exit, Exit::Failure | Exit::Denied) {
                    self.exit = Exit::Conflict;
                }
            }
            Err(error) => {
                printed.error = Some(error.to_string());
                self.exit = if is_denied_append(&error) { Exit::Denied } else { Exit::Failure };
            }
        }
        if self.args.server.json {
            return Ok(self.output.json(&printed)?);
        }
        match printed {
            Printed { id: Some(id), .. } => self.output.line(format_args!("{partition}:{id}"))?,
            Printed { conflict: Some(PrintedConflict { id, lock }), .. } => self.output.line(
                format_args!("conflict: {lock} was changed by {partition}:{id}; apply that first"),
            )?,
            Printed { error, .. } => {
                self.output.line(error.unwrap_or_default())?;
            }
        }
        Ok(())
    }
}
