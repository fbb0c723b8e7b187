//! What may be asked on the command line.

use clap::{ArgGroup, Parser};
use waltz_core::id::{PartitionId, TransactionId};
use waltz_core::io::Address;
use waltz_core::planted::{Planted, PlantedBug};
use waltz_runtime_sim::Filter;
use waltz_sim_tests::{Overrides, Request, Size};

/// Simulate whole clusters from a seed.
#[derive(Debug, Parser)]
#[command(name = "waltz-sim", group = ArgGroup::new("what").required(true))]
pub(crate) struct Arguments {
    /// Replay this seed
    #[arg(long, group = "what")]
    pub(crate) seed: Option<u64>,

    /// Run every seed of a range
    #[arg(long, value_name = "FROM..TO", group = "what", value_parser = range)]
    pub(crate) seeds: Option<(u64, u64)>,

    /// Print the trace hashes that tests/pinned.txt holds
    #[arg(long, group = "what")]
    pub(crate) pin: bool,

    /// Say of each rule how many seeds notice when it is broken, of 0..200 or of those given, and how
    /// many runs of the smaller simulations; fails when nothing notices one
    #[arg(
        long,
        value_name = "FROM..TO",
        group = "what",
        value_parser = range,
        num_args = 0..=1,
        default_missing_value = "0..200"
    )]
    pub(crate) table: Option<(u64, u64)>,

    /// One JSON object a rule, for programs
    #[arg(long, requires = "table")]
    pub(crate) json: bool,

    /// Longer runs
    #[arg(long)]
    long: bool,

    /// Break a rule of the protocol on purpose; a run that notices fails. A table has that line only
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub(crate) planted: Option<PlantedBug>,

    /// Change a seed's plan, such as nodes=3,operations=20,without=kill+power
    #[arg(long, value_name = "CHANGES", requires = "seed", default_value = "")]
    set: Overrides,

    /// If the run fails, leave out what it does not take to fail, and print it as a test
    #[arg(long, requires = "seed")]
    pub(crate) shrink: bool,

    /// Print the events of the run
    #[arg(long, requires = "seed")]
    trace: bool,

    /// Only those of this host, such as n2 or service-1
    #[arg(long, requires = "trace")]
    node: Option<String>,

    /// Only those of this partition, such as p0
    #[arg(long, requires = "trace", value_parser = partition)]
    partition: Option<PartitionId>,

    /// Only those of this transaction, such as p0/17
    #[arg(long, requires = "trace", value_parser = transaction)]
    transaction: Option<(PartitionId, TransactionId)>,
}

/// The name of a rule on the command line: its words in lower case.
pub(crate) fn name_of(bug: PlantedBug) -> String {
    let mut name = String::new();
    for letter in format!("{bug:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn rule(name: &str) -> Result<PlantedBug, String> {
    let rule = PlantedBug::ALL.into_iter().find(|bug| name_of(*bug) == name);
    rule.ok_or_else(|| {
        let names: Vec<_> = PlantedBug::ALL.into_iter().map(name_of).collect();
        format!("the rules are {}", names.join(", "))
    })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("a range is written FROM..TO, such as 0..2000")?;
    let (from, to) = (number(from)?, number(to)?);
    if from >= to { Err("the range is empty".to_owned()) } else { Ok((from, to)) }
}

fn partition(text: &str) -> Result<PartitionId, String> {
    let digits = text.strip_prefix('p').ok_or("a partition is written pN, such as p0")?;
    digits.parse().map(PartitionId).map_err(|error| format!("{text:?}: {error}"))
}

fn transaction(text: &str) -> Result<(PartitionId, TransactionId), String> {
    let parts = text.split_once('/').ok_or("a transaction is written pN/ID, such as p0/17")?;
    Ok((partition(parts.0)?, TransactionId(number(parts.1)?)))
}

impl Arguments {
    pub(crate) fn request(&self, seed: u64) -> Request {
        Request {
            seed,
            size: if self.long { Size::Long } else { Size::Short },
            planted: self.planted.map_or(Planted::NONE, Planted::bug),
            overrides: self.set.clone(),
            lines: self.trace.then(|| Filter {
                host: self.node.clone().map(Address),
                partition: self.partition,
                transaction: self.transaction,
            }),
        }
    }

    /// The command that replays a run.
    pub(crate) fn replay(&self, request: &Request) -> String {
        let mut command = request.replay();
        if let Some(bug) = self.planted {
            command.push_str(" --planted ");
            command.push_str(&name_of(bug));
        }
        command
    }
}
