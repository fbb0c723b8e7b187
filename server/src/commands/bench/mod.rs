//! `waltz bench`: how fast, at what cost, and how fast the disk alone would be.

pub mod append;
pub mod feed;
mod load;
pub mod restart;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::parse_duration;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure appends, each acknowledged by a majority's disks
    Append(append::AppendBench),
    /// Measure reading a stored log from its beginning
    Feed(feed::FeedBench),
    /// Measure how long a node takes to open its journal
    Restart(restart::RestartBench),
}

/// What benchmarks of a cluster are told.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Bytes of data in each record
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,

    /// Appends under way at once, all connections together
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    in_flight: u32,

    /// Clients, each with one connection to each server
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,

    /// Partitions of the cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    partitions: u32,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    duration: Duration,

    /// Nodes of the cluster that is started
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: u32,

    /// Measure a cluster that is already there, through any of its nodes
    #[arg(long, value_name = "ADDR")]
    server: Vec<String>,

    /// Where the started cluster keeps its data [default: the current directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}
