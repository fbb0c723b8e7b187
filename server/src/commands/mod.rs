//! The program's commands, one module each.

pub mod admin;
pub mod append;
pub mod archive;
pub mod backup;
pub mod bench;
pub mod config;
pub mod connect;
pub mod consumer;
pub mod demo;
pub mod disk;
pub mod feed;
mod log;
mod ranges;
mod recording;
pub mod replay;
pub mod serve;
pub mod status;
pub mod survey;
pub mod token;
pub mod window;

use std::future::Future;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Command;
use crate::exit::Exit;

/// Runs a command to its end.
///
/// # Errors
/// What stopped it, with everything that a person needs to know about it.
pub fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Config(command) => config::run(command),
        Command::Append(args) => on_this_thread(append::run(args)),
        Command::Feed(args) => on_this_thread(feed::run(args)),
        Command::Status(args) => on_this_thread(status::run(args)),
        Command::Admin(command) => on_this_thread(admin::run(command)),
        Command::Consumer(command) => on_this_thread(consumer::run(command)),
        Command::Backup(command) => on_this_thread(interruptible(backup::run(command))),
        Command::Archive(command) if command.goes_on() => {
            on_this_thread(until_stopped(archive::run(command)))
        }
        Command::Archive(command) => on_this_thread(interruptible(archive::run(command))),
        Command::Disk(command) => disk::run(command),
        Command::Token(args) => token::run(&args),
        Command::Replay(args) => replay::run(args),
        Command::Demo(demo::DemoCommand::Bank(args)) => {
            on_all_threads(interruptible(demo::run(args)))
        }
        Command::Demo(demo::DemoCommand::Smoke(args)) => {
            on_all_threads(interruptible(demo::smoke::run(args)))
        }
        Command::Demo(demo::DemoCommand::SmokeClient(args)) => {
            on_all_threads(demo::smoke::run_client(args))
        }
        Command::Bench(bench::BenchCommand::Append(args)) => {
            on_this_thread(interruptible(bench::append::run(args)))
        }
        Command::Bench(bench::BenchCommand::Feed(args)) => {
            on_this_thread(interruptible(bench::feed::run(args)))
        }
        Command::Bench(bench::BenchCommand::Restart(args)) => {
            on_this_thread(interruptible(bench::restart::run(args)))
        }
    }
}

/// Ends a command that has started processes and made files when a person or a supervisor wants it
/// to end: dropping it stops the processes and removes the files.
async fn interruptible(
    command: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    tokio::select! {
        biased;
        how = told_to_end() => bail!(how?),
        exit = command => exit,
    }
}

/// Runs a command that goes on until a person or a supervisor wants it to end.
async fn until_stopped(
    command: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    tokio::select! {
        biased;
        how = told_to_end() => how.map(|_| Exit::Success),
        exit = command => exit,
    }
}

/// Waits until somebody wants the program to end; says how.
async fn told_to_end() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for signals")?;
    tokio::select! {
        _ = terminate.recv() => Ok("terminated"),
        _ = interrupt.recv() => Ok("interrupted"),
    }
}

/// One thread: the least there can be between a client and its socket.
fn on_this_thread(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    crate::logging::start("warn");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start")?;
    let exit = runtime.block_on(command);
    // A read of standard input that never ends must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// Several threads: for services that also use a database.
fn on_all_threads(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    crate::logging::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start")?;
    runtime.block_on(command)
}
