//! After the work: what everyone ended up with, and whether it is as it must be.

use std::collections::BTreeMap;

use waltz_bank::{Audit, Replay, Totals, Violation};
use waltz_client::PartitionId;

use super::PATIENCE;
use super::logs::Digest;
use super::replicas::{compare_logs, wait_until_whole};
use super::work::{Bank, Plan};
use crate::cluster::LocalCluster;
use crate::output::Output;

/// One thing that must hold, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Nothing, when it does.
    pub violations: Vec<String>,
}

impl Check {
    /// Shows it: whether it holds, and some of what speaks against it.
    ///
    /// # Errors
    /// When it can't be printed.
    pub fn print(&self, output: &mut Output) -> std::io::Result<()> {
        const SHOWN: usize = 5;
        let Self { name, violations } = self;
        let verdict = if violations.is_empty() { "ok  " } else { "FAIL" };
        output.line(format_args!("{verdict}  {name}"))?;
        for violation in violations.iter().take(SHOWN) {
            output.line(format_args!("      {violation}"))?;
        }
        match violations.len().checked_sub(SHOWN) {
            Some(more @ 1..) => output.line(format_args!("      and {more} more")),
            _ => Ok(()),
        }
    }
}

/// Everything that can be known after a run.
#[derive(Debug)]
pub struct Evidence {
    /// Sums over all operations.
    pub totals: Totals,
    /// Each partition's committed log.
    pub partitions: BTreeMap<PartitionId, Digest>,
    /// What was checked.
    pub checks: Vec<Check>,
}

impl Evidence {
    /// Waits until everything has come to rest, reads it all, stops the nodes and reads their
    /// disks.
    ///
    /// # Errors
    /// When it does not come to rest, or can't be read.
    pub async fn collect(
        bank: Bank,
        plan: &Plan<'_>,
        mut cluster: LocalCluster,
    ) -> anyhow::Result<Self> {
        bank.settle().await?;
        let sets = wait_until_whole(&bank.config).await?;
        let read = Replay::read(bank.runtime.clone(), bank.config.clone(), plan.opening_cents);
        let (replay, dense) = match read.await {
            Ok(replay) => (replay, Vec::new()),
            Err(error) => (Replay::new(plan.opening_cents), vec![error.to_string()]),
        };
        bank.close().await;
        cluster.stop(PATIENCE).await?;
        let (partitions, unlike) = compare_logs(&cluster, &sets, replay.marks());
        let (shared, derived) = (bank.shared.balances()?, bank.derived.balances()?);
        let statements = bank.derived.statements()?;
        let audit = Audit {
            tally: &bank.tally,
            replay: &replay,
            shared: &shared,
            derived: &derived,
            statements: &statements,
            opening_cents: plan.opening_cents,
            ledger: plan.ledger,
        };
        let mut checks = vec![
            Check { name: "ids are dense and no operation is in the log twice", violations: dense },
            Check { name: "the logs of all replicas are identical", violations: unlike },
        ];
        checks.extend(sort(audit.violations(), plan));
        Ok(Self { totals: bank.tally.totals(), partitions, checks })
    }
}

/// Violations under the check that they belong to.
fn sort(violations: Vec<Violation>, plan: &Plan<'_>) -> Vec<Check> {
    let check = |name| Check { name, violations: Vec::new() };
    let mut ends = check("every submitted context ended once, as it was told");
    let mut equal = check("the shared database, the derived one and the replayed log are equal");
    let mut money = check(match plan.ledger {
        None => "money is conserved",
        Some(_) => "the balance after each row is the bank's own",
    });
    for violation in violations {
        let check = match violation {
            Violation::Endings { .. }
            | Violation::Callbacks { .. }
            | Violation::Lost { .. }
            | Violation::Risen { .. }
            | Violation::Foreign { .. } => &mut ends,
            Violation::Balance { .. } | Violation::Statement { .. } => &mut equal,
            Violation::Money { .. } | Violation::Ledger { .. } => &mut money,
        };
        check.violations.push(violation.to_string());
    }
    vec![money, equal, ends]
}
