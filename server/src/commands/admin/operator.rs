//! An operator at a cluster: what may be changed, what is asked first, and what is told.

use std::io::{IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use waltz_client::{Client, NoDatabase, OperateError, OperatorRequest, Partitions};

use super::requests::words;
use crate::args::ServerArgs;
use crate::commands::connect::{config, connect};
use crate::exit::Exit;
use crate::output::Output;

/// For commands that change something.
#[derive(Debug, Clone, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,

    /// Show what would be asked of the cluster, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// For commands that take something away.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfirmArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,

    /// Don't ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// A connected operator. Without `--dry-run` its requests are made, with it they are shown.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) client: Client,
    pub(super) output: Output,
    pub(super) json: bool,
    dry_run: bool,
    yes: bool,
}

/// A request and what became of it, for programs.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    /// `planned` in a dry run, `granted` or `refused`.
    outcome: &'static str,
    request: &'a OperatorRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Operator {
    /// One who only looks.
    ///
    /// # Errors
    /// When no node answers, or it refuses this client.
    pub(super) async fn looking(args: &ServerArgs) -> anyhow::Result<Self> {
        let config = config(args).partitions(Partitions::none());
        let client = connect(config, NoDatabase::newest()).await?;
        Ok(Self { client, output: Output::new(), json: args.json, dry_run: false, yes: false })
    }

    /// One who changes something.
    ///
    /// # Errors
    /// As [`Self::looking`].
    pub(super) async fn changing(args: &ChangeArgs) -> anyhow::Result<Self> {
        Ok(Self { dry_run: args.dry_run, ..Self::looking(&args.server).await? })
    }

    /// One who takes something away.
    ///
    /// # Errors
    /// As [`Self::looking`].
    pub(super) async fn confirming(args: &ConfirmArgs) -> anyhow::Result<Self> {
        Ok(Self { yes: args.yes, ..Self::changing(&args.change).await? })
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_dry(&self) -> bool {
        self.dry_run
    }

    /// Makes sure that a person wants it: with `--yes`, or by asking at a terminal. In a dry run
    /// nobody is asked.
    ///
    /// # Errors
    /// When the person does not want it, or there is nobody to ask.
    pub(super) fn confirm(&mut self, question: &str) -> anyhow::Result<()> {
        self.output.flush()?;
        if self.yes || self.dry_run {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!(
                "nothing was changed: this has to be confirmed, and standard input is no terminal \
                 to ask at; add --yes"
            );
        }
        let mut prompt = std::io::stderr();
        write!(prompt, "{question} Type yes: ")?;
        prompt.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("could not read the answer")?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => bail!("nothing was changed"),
        }
    }

    /// Shows a request in a dry run, makes it otherwise. False: it was refused, which is told.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) async fn ask(&mut self, request: OperatorRequest) -> anyhow::Result<bool> {
        if self.dry_run {
            self.tell("planned", &request, None)?;
            return Ok(true);
        }
        match self.client.operate(request.clone()).await {
            Ok(()) => self.tell("granted", &request, None)?,
            Err(error) => {
                self.tell("refused", &request, Some(error.to_string()))?;
                if matches!(error, OperateError::Denied(_)) {
                    return Err(error.into());
                }
                tracing::error!("{}: {error}", words(&request));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn tell(
        &mut self,
        outcome: &'static str,
        request: &OperatorRequest,
        error: Option<String>,
    ) -> std::io::Result<()> {
        match (self.json, outcome) {
            (true, _) => self.output.json(&Asked { outcome, request, error })?,
            // What was refused is on standard error.
            (false, "refused") => {}
            (false, _) => self.output.line(format_args!("{outcome}: {}", words(request)))?,
        }
        self.output.flush()
    }

    /// Leaves.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub(super) async fn leave(mut self, exit: Exit) -> anyhow::Result<Exit> {
        self.output.flush()?;
        self.client.close().await;
        Ok(exit)
    }
}
