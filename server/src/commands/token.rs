//! `waltz token`: makes a token.

use clap::Args;
use serde::Serialize;
use waltz_core::access::{Role, TokenHash};
use waltz_runtime_tokio::runtime::random;

use crate::exit::Exit;
use crate::output::Output;

/// Make a token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What its bearer may do: reader, writer or admin
    #[arg(value_name = "ROLE", value_parser = client_role)]
    role: Role,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Printed {
    token: String,
    line: String,
}

/// Runs the command.
///
/// # Errors
/// When it can't be printed.
pub fn run(args: &TokenArgs) -> anyhow::Result<Exit> {
    let token: String = (0..4).map(|_| format!("{:016x}", random())).collect();
    let line = format!("{} {}", args.role, TokenHash::of(&token));
    let mut output = Output::new();
    if args.json {
        output.json(&Printed { token, line })?;
    } else {
        output.line(format_args!("for the client's --token-file: {token}"))?;
        output.line(format_args!("for the nodes' file of tokens: {line}"))?;
    }
    output.flush()?;
    Ok(Exit::Success)
}

fn client_role(text: &str) -> Result<Role, String> {
    match text.parse()? {
        Role::Node => Err("nodes are known by their certificates, not by tokens".to_owned()),
        role => Ok(role),
    }
}
