//! `waltz admin cluster verify`

use clap::Args;
use serde::Serialize;

use super::super::checks::{Check, Outcome, check};
use super::super::operator::Operator;
use crate::args::ServerArgs;
use crate::commands::survey::{Survey, inspect_all};
use crate::exit::Exit;
use crate::output::Table;

/// Check metadata against servers, and both against replicas. Exits with 1 if a check fails; what
/// is only warned of passes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// How many committed transactions a replica may lack
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_lag: u64,
}

#[derive(Debug, Serialize)]
struct Verdict<'a> {
    outcome: Outcome,
    checks: &'a [Check],
}

/// Runs the command.
///
/// # Errors
/// When the cluster can't be reached.
pub async fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut operator = Operator::looking(&args.server).await?;
    let survey = Survey::take(&operator.client).await?;
    let inspections = inspect_all(&operator.client, &survey.view).await?;
    let checks = check(&survey, &inspections, args.max_lag);
    let outcome = checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Fail);
    match operator.json {
        true => operator.output.json(&Verdict { outcome, checks: &checks })?,
        false => tell(&checks, outcome, &mut operator)?,
    }
    let exit = if outcome == Outcome::Fail { Exit::Failure } else { Exit::Success };
    operator.leave(exit).await
}

fn tell(checks: &[Check], outcome: Outcome, operator: &mut Operator) -> std::io::Result<()> {
    let mut table = Table::new(["check", "result", "found"]);
    for check in checks {
        let mut found = check.found.iter();
        let first = found.next().cloned().unwrap_or_default();
        table.row([check.name.to_owned(), check.outcome.to_string(), first]);
        for more in found {
            table.row([String::new(), String::new(), more.clone()]);
        }
    }
    operator.output.line(table)?;
    operator.output.line(match outcome {
        Outcome::Pass | Outcome::Warn => "\npass",
        Outcome::Fail => "\nfail",
    })
}
