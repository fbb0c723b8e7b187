//! `waltz config`: a node's configuration, without the node.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::serve::{coordinator_security, node_config};
use crate::config::{Effective, Flags, Loaded, Problems, Settings, environment, example, load};
use crate::exit::Exit;
use crate::output::{Output, Table};

/// Write, check and show a node's configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a complete file: every key, what it means, and its default
    Example,
    /// Say whether a file can be used, or everything that is wrong with it
    Check(CheckArgs),
    /// Show every key's value as a node would take it, and where that was set
    Show(ShowArgs),
}

/// Check a file.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file; variables of the environment are left out
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Show what is in force.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The node's configuration file
    #[arg(long, value_name = "FILE", env = "WALTZ_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,

    /// Print JSON, one key a line
    #[arg(long)]
    json: bool,
}

/// Runs a command.
///
/// # Errors
/// When the configuration to show can't be used, or nothing can be printed.
pub fn run(command: ConfigCommand) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    let exit = match command {
        ConfigCommand::Example => {
            output.line(example().trim_end())?;
            Exit::Success
        }
        ConfigCommand::Check(args) => check(&args, &mut output)?,
        ConfigCommand::Show(args) => show(&args, &mut output)?,
    };
    output.flush()?;
    Ok(exit)
}

fn check(args: &CheckArgs, output: &mut Output) -> anyhow::Result<Exit> {
    let file = args.file.display();
    match load(Some(&args.file), std::iter::empty(), &Flags::default()) {
        Ok(Loaded { settings, .. }) => match try_out(&settings) {
            Ok(()) => {
                output.line(format_args!("{file}: ok"))?;
                Ok(Exit::Success)
            }
            Err(reason) => {
                output.line(format_args!("{file}: {reason:#}"))?;
                Ok(Exit::Failure)
            }
        },
        Err(Problems(problems)) => {
            for problem in problems {
                output.line(problem)?;
            }
            Ok(Exit::Failure)
        }
    }
}

/// Whether a node could go by these settings, as far as files of this machine tell.
fn try_out(settings: &Settings) -> anyhow::Result<()> {
    node_config(settings, settings.node.listen)?;
    coordinator_security(settings)?;
    Ok(())
}

fn show(args: &ShowArgs, output: &mut Output) -> anyhow::Result<Exit> {
    let loaded = load(args.config.as_deref(), environment(), &args.flags)
        .context("the configuration can't be used")?;
    if args.json {
        loaded.effective().iter().try_for_each(|effective| output.json(effective))?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(["key", "value", "from"]);
    for Effective { key, value, origin } in loaded.effective() {
        table.row([key, value.unwrap_or_else(|| "-".into()), origin]);
    }
    output.line(table)?;
    Ok(Exit::Success)
}
