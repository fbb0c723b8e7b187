//! Runs seeds: one, with the same standard output every time, or many, with a summary.

#![expect(clippy::print_stdout, reason = "its output is what the program is for")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::{ArgGroup, Parser, ValueEnum};
use waltz_core::planted::{Planted, PlantedBug};
use waltz_sim_tests::{Outcome, Request, Size, run};

/// Simulate whole clusters from a seed.
#[derive(Debug, Parser)]
#[command(name = "waltz-sim", group = ArgGroup::new("what").required(true))]
struct Arguments {
    /// Replay this seed
    #[arg(long, group = "what")]
    seed: Option<u64>,

    /// Run every seed of a range
    #[arg(long, value_name = "FROM..TO", group = "what", value_parser = range)]
    seeds: Option<(u64, u64)>,

    /// Longer runs
    #[arg(long)]
    long: bool,

    /// Break a rule of the protocol on purpose; a run that notices fails
    #[arg(long, value_name = "RULE")]
    planted: Option<Bug>,

    /// Print every event of the run
    #[arg(long, requires = "seed")]
    trace: bool,
}

/// The rules that can be broken.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bug {
    AcknowledgeBeforeSync,
    SkipPromiseCheck,
    QuorumMinusOne,
}

impl Bug {
    fn planted(self) -> PlantedBug {
        match self {
            Self::AcknowledgeBeforeSync => PlantedBug::AcknowledgeBeforeSync,
            Self::SkipPromiseCheck => PlantedBug::SkipPromiseCheck,
            Self::QuorumMinusOne => PlantedBug::QuorumMinusOne,
        }
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("a range is written FROM..TO, such as 0..2000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let (from, to) = (number(from)?, number(to)?);
    if from >= to { Err("the range is empty".to_owned()) } else { Ok((from, to)) }
}

impl Arguments {
    fn request(&self, seed: u64) -> Request {
        Request {
            seed,
            size: if self.long { Size::Long } else { Size::Short },
            planted: self.planted.map_or(Planted::NONE, |bug| Planted::bug(bug.planted())),
            lines: self.trace,
        }
    }

    /// The command that replays a seed.
    fn replay(&self, seed: u64) -> String {
        let mut command = format!("cargo run -p waltz-sim-tests --release -- --seed {seed}");
        if self.long {
            command.push_str(" --long");
        }
        if let Some(name) = self.planted.and_then(|bug| bug.to_possible_value()) {
            command.push_str(" --planted ");
            command.push_str(name.get_name());
        }
        command
    }

    fn report(&self, seed: u64, outcome: &Outcome) {
        for line in &outcome.lines {
            println!("{line}");
        }
        for violation in &outcome.violations {
            println!("seed {seed}: {violation}");
        }
        println!("seed {seed}: {}", outcome.summary);
        if !outcome.violations.is_empty() {
            println!("replay with: {}", self.replay(seed));
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A violation is reported in words; the panic's own message would only double it.
    std::panic::set_hook(Box::new(|_| ()));
    if let Some(seed) = arguments.seed {
        let outcome = run(arguments.request(seed));
        arguments.report(seed, &outcome);
        return ExitCode::from(u8::from(!outcome.violations.is_empty()));
    }
    let (from, to) = arguments.seeds.expect("clap asks for one of the two");
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let committed = AtomicU64::new(0);
    let virtual_ms = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let outcome = run(arguments.request(seed));
                    committed.fetch_add(outcome.summary.committed, Ordering::Relaxed);
                    virtual_ms.fetch_add(outcome.summary.virtual_ms, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        let mut failed = failed.lock().expect("reporting does not panic");
                        arguments.report(seed, &outcome);
                        failed.push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("reporting does not panic");
    println!(
        "{} seeds, {} failed, {} transactions committed, {} s of virtual time",
        to - from,
        failed.len(),
        committed.into_inner(),
        virtual_ms.into_inner() / 1000
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}
