//! Runs seeds: one, with the same standard output every time, or many, with a summary.

#![expect(clippy::print_stdout, reason = "its output is what the program is for")]

mod arguments;
mod many;
mod table;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use waltz_sim_tests::shrink::{self, shrink};
use waltz_sim_tests::{Outcome, PINNED, Request, run};

fn report(arguments: &Arguments, request: &Request, outcome: &Outcome) {
    let seed = request.seed;
    for line in &outcome.lines {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!("seed {seed}: {violation}");
    }
    println!("seed {seed}: {}", outcome.summary);
    if !outcome.violations.is_empty() {
        println!("replay with: {}", arguments.replay(request));
    }
}

fn run_one(arguments: &Arguments, seed: u64) -> ExitCode {
    let request = arguments.request(seed);
    if !arguments.shrink {
        let outcome = run(request.clone());
        report(arguments, &request, &outcome);
        return ExitCode::from(u8::from(!outcome.violations.is_empty()));
    }
    let smallest = shrink(request, |smaller| {
        println!("{}: {}", smaller.request.overrides, smaller.violation);
    });
    let Some(smallest) = smallest else {
        println!("seed {seed} does not fail");
        return ExitCode::SUCCESS;
    };
    println!("\n{}", shrink::test_of(&smallest));
    println!("replay with: {}", arguments.replay(&smallest.request));
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A violation is reported in words; the panic's own message would only double it.
    std::panic::set_hook(Box::new(|_| ()));
    if let Some(seed) = arguments.seed {
        return run_one(&arguments, seed);
    }
    if arguments.pin {
        for seed in PINNED {
            let summary = run(Request::new(seed)).summary;
            println!("{seed} {:016x} {}", summary.trace, summary.events);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(range) = arguments.table {
        let all_noticed = table::print(range, arguments.planted, arguments.json);
        return ExitCode::from(u8::from(!all_noticed));
    }
    let range = arguments.seeds.expect("clap asks for one of the four");
    let totals = many::run_all(
        range,
        |seed| arguments.request(seed),
        |request, outcome| report(&arguments, request, outcome),
    );
    println!("{totals}");
    ExitCode::from(u8::from(!totals.failed.is_empty()))
}
