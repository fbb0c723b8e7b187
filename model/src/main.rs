//! Explores for so many minutes, or so deep, and prints how far it came.

#![expect(clippy::print_stdout, reason = "its output is what the program is for")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use waltz_core::planted::{Planted, PlantedBug};
use waltz_model::{Bounds, Happening, Outcome, START_NAMES, Start, explore, starts};

/// Visit every state of two sessions over three replicas, within bounds.
#[derive(Debug, Parser)]
#[command(name = "waltz-model")]
struct Arguments {
    /// How long to explore, all starts together
    #[arg(long, default_value = "10", value_name = "MINUTES", value_parser = minutes)]
    minutes: Duration,

    /// How many steps from each start at most
    #[arg(long)]
    depth: Option<usize>,

    /// How many states of one start at most; a million take about a gigabyte of memory
    #[arg(long, default_value_t = 6_000_000)]
    states: usize,

    /// From this start only
    #[arg(long, value_parser = START_NAMES)]
    start: Option<String>,

    /// Break a rule of the protocol on purpose; the shortest story that shows it is printed
    #[arg(long, value_name = "RULE")]
    planted: Option<Bug>,
}

/// The rules that can be broken.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bug {
    AcknowledgeBeforeSync,
    SkipPromiseCheck,
    QuorumMinusOne,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}

impl Bug {
    fn planted(self) -> Planted {
        Planted::bug(match self {
            Self::AcknowledgeBeforeSync => PlantedBug::AcknowledgeBeforeSync,
            Self::SkipPromiseCheck => PlantedBug::SkipPromiseCheck,
            Self::QuorumMinusOne => PlantedBug::QuorumMinusOne,
        })
    }
}

fn report(start: &Start, outcome: &Outcome) {
    let depth = format!("{}{}", outcome.depth, if outcome.is_complete { " (all)" } else { "" });
    let happened = Happening::ALL.map(|kind| format!("{:>9}", outcome.tally.of(kind)));
    println!(
        "{:<16} {:<20} {:>10} {:>11} {:>10} {:>7.1}  {}",
        start.name,
        start.faults,
        outcome.states,
        outcome.transitions,
        depth,
        outcome.elapsed.as_secs_f64(),
        happened.join(" ")
    );
    if let Some(counterexample) = &outcome.counterexample {
        println!("{}", counterexample.transcript);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic of a machine is told in its transcript; the message would only double it.
    std::panic::set_hook(Box::new(|_| ()));
    let planted = arguments.planted.map_or(Planted::NONE, Bug::planted);
    let mut starts = starts(planted);
    starts.retain(|start| arguments.start.as_ref().is_none_or(|name| name == start.name));
    let end = Instant::now() + arguments.minutes;
    let workers = thread::available_parallelism().map_or(1, usize::from).min(starts.len());
    let kinds = Happening::ALL.map(|kind| format!("{:>9}", kind.word())).join(" ");
    println!(
        "{:<16} {:<20} {:>10} {:>11} {:>10} {:>7}  {kinds}",
        "start", "faults", "states", "transitions", "depth", "seconds"
    );
    let (next, is_broken) = (AtomicUsize::new(0), AtomicBool::new(false));
    let printing = Mutex::new(());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !is_broken.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(start) = starts.get(index) else { return };
                    // What is left of the time is shared by what is left to explore.
                    let rounds = (starts.len() - index).div_ceil(workers) as u32;
                    let share = end.saturating_duration_since(Instant::now()) / rounds;
                    let outcome = explore(
                        start,
                        Bounds {
                            depth: arguments.depth,
                            states: Some(arguments.states),
                            until: Some(Instant::now() + share),
                        },
                    );
                    let _one_at_a_time = printing.lock().expect("printing does not panic");
                    report(start, &outcome);
                    is_broken.fetch_or(outcome.counterexample.is_some(), Ordering::Relaxed);
                }
            });
        }
    });
    ExitCode::from(u8::from(is_broken.into_inner()))
}
