//! Runs seeds: one, with the same standard output every time, or many, with a summary.

#![expect(clippy::print_stdout, reason = "its output is what the program is for")]

mod arguments;
mod many;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use waltz_sim_tests::{Outcome, run};

fn report(arguments: &Arguments, seed: u64, outcome: &Outcome) {
    for line in &outcome.lines {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!("seed {seed}: {violation}");
    }
    println!("seed {seed}: {}", outcome.summary);
    if !outcome.violations.is_empty() {
        println!("replay with: {}", arguments.replay(seed));
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A violation is reported in words; the panic's own message would only double it.
    std::panic::set_hook(Box::new(|_| ()));
    if let Some(seed) = arguments.seed {
        let outcome = run(arguments.request(seed));
        report(&arguments, seed, &outcome);
        return ExitCode::from(u8::from(!outcome.violations.is_empty()));
    }
    let range = arguments.seeds.expect("clap asks for one of the two");
    let totals = many::run_all(
        range,
        |seed| arguments.request(seed),
        |seed, outcome| report(&arguments, seed, outcome),
    );
    println!("{totals}");
    ExitCode::from(u8::from(!totals.failed.is_empty()))
}
