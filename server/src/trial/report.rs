//! What is shown at the end.

use std::time::Duration;

use serde::Serialize;

use super::audit::{Check, Evidence};
use super::work::Plan;
use crate::measure::latency::{Latencies, Percentiles};
use crate::output::{Output, Table};

/// What was done, how fast, and what was checked.
#[derive(Debug, Serialize)]
pub struct Report {
    sound: bool,
    seed: u64,
    submitted: u64,
    committed: u64,
    ignored: u64,
    failed: u64,
    in_doubt: u64,
    conflicts: u64,
    re_executions: u64,
    kills_survived: u64,
    seconds: f64,
    committed_per_second: f64,
    latency: Percentiles,
    partitions: Vec<Partition>,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: u32,
    transactions: u64,
    hash: String,
}

impl Report {
    /// Puts it together.
    pub fn new(
        seed: u64,
        plan: &Plan<'_>,
        kills_survived: u64,
        elapsed: Duration,
        latencies: &Latencies,
        evidence: &Evidence,
    ) -> Self {
        let Evidence { totals, partitions, checks } = evidence;
        let mut checks = checks.clone();
        if totals.submitted != plan.operations {
            let violation =
                format!("{} of {} operations were submitted", totals.submitted, plan.operations);
            checks.push(Check { name: "everything was submitted", violations: vec![violation] });
        }
        Self {
            sound: checks.iter().all(|check| check.violations.is_empty()),
            seed,
            submitted: totals.submitted,
            committed: totals.committed,
            ignored: totals.ignored,
            failed: totals.failed,
            in_doubt: totals.in_doubt,
            conflicts: totals.conflicts,
            re_executions: totals.re_executions,
            kills_survived,
            seconds: elapsed.as_secs_f64(),
            committed_per_second: totals.committed as f64 / elapsed.as_secs_f64(),
            latency: latencies.percentiles(),
            partitions: partitions
                .iter()
                .map(|(partition, digest)| Partition {
                    partition: partition.0,
                    transactions: digest.last.count(),
                    hash: format!("{:016x}", digest.hash),
                })
                .collect(),
            checks,
        }
    }

    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Shows it.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut output = Output::new();
        if json {
            output.json(self)?;
        } else {
            self.print_tables(&mut output)?;
        }
        Ok(output.flush()?)
    }

    fn print_tables(&self, output: &mut Output) -> std::io::Result<()> {
        let mut sums = Table::new(["bank", ""]);
        for (name, number) in [
            ("submitted", self.submitted),
            ("committed", self.committed),
            ("ignored (overdrafts)", self.ignored),
            ("failed", self.failed),
            ("in doubt", self.in_doubt),
            ("conflicts", self.conflicts),
            ("re-executions", self.re_executions),
            ("kills survived", self.kills_survived),
        ] {
            sums.row([name.to_owned(), number.to_string()]);
        }
        output.line(sums)?;
        output.line(format_args!(
            "\n{:.0} committed/s for {:.1} s (seed {})",
            self.committed_per_second, self.seconds, self.seed
        ))?;
        output.line(format_args!("latency  {}\n", self.latency))?;
        let mut logs = Table::new(["partition", "transactions", "hash on every replica"]);
        for Partition { partition, transactions, hash } in &self.partitions {
            logs.row([partition.to_string(), transactions.to_string(), hash.clone()]);
        }
        output.line(format_args!("{logs}\n"))?;
        self.checks.iter().try_for_each(|check| check.print(output))?;
        let verdict = match self.sound {
            true => "every check holds",
            false => "VIOLATED: the nodes' data and logs were kept",
        };
        output.line(format_args!("\n{verdict}"))
    }
}
