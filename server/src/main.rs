//! The `waltz` program's entry.

use std::process::ExitCode;

use clap::Parser;
use waltz_server::args::Cli;
use waltz_server::commands;
use waltz_server::exit::{Exit, explain, is_broken_pipe};

fn main() -> ExitCode {
    match commands::run(Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                usage.exit();
            }
            // Nothing is left to be done when standard error is gone, too.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("waltz: {}\n", explain(&error)),
            );
            Exit::of(&error).into()
        }
    }
}
