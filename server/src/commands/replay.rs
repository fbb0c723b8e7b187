//! `waltz replay`

use std::any::Any;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use waltz_core::recorder::{
    Played, Recorded, Recording, Replay, Step, Verdict, effect_text, input_text,
};

use crate::exit::Exit;
use crate::output::Output;

/// Run a node's recording through the same machine, step by step.
///
/// Ends with 0 if everything went as it was recorded, a panic included; with 4 if not; and with 1
/// if the file can't be replayed.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file that `waltz serve --flight-recorder` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print from this input on; those before it are taken in silence
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,

    /// Stop after this input
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,

    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// A line of JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    /// An input and what came of it.
    Step { number: u64, time: u64, input: String, effects: Vec<String>, verdict: &'static str },
    /// A state that the recording has, too.
    State { before: u64, same: bool },
    /// An input at which the machine panicked: the last one.
    Panic { number: u64, time: u64, input: String, reason: String, verdict: &'static str },
    /// The end.
    End {
        /// The first input's number in the node's life.
        first: u64,
        inputs: u64,
        different: u64,
        /// The first input whose effects differ, or that a state which differs comes before.
        first_different: Option<u64>,
        panicked: Option<u64>,
    },
}

/// What came of the next part of the recording.
enum Outcome {
    Played(Played),
    Panicked(Panicked),
}

/// A step whose end the machine did not reach.
struct Panicked {
    number: u64,
    recorded: Recorded,
    reason: String,
}

impl Panicked {
    /// Whether the recorded node came to the end of this step.
    fn differs(&self) -> bool {
        self.recorded.effects.is_some()
    }
}

/// How far the replay has come.
#[derive(Debug, Default)]
struct Tally {
    first: u64,
    inputs: u64,
    different: u64,
    first_different: Option<u64>,
    panicked: Option<u64>,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        let (number, differs) = match outcome {
            Outcome::Played(Played::State { before, same }) => (*before, !same),
            Outcome::Played(played @ Played::Input(step)) => {
                self.inputs += 1;
                (step.number, played.differs())
            }
            Outcome::Panicked(panicked) => {
                self.inputs += 1;
                self.panicked = Some(panicked.number);
                (panicked.number, panicked.differs())
            }
        };
        if differs {
            self.different += 1;
            self.first_different.get_or_insert(number);
        }
    }

    fn text(&self) -> String {
        let outcome = match self.first_different {
            None => "all as recorded".to_owned(),
            Some(number) => {
                format!("{} differ from the recording, the first at input {number}", self.different)
            }
        };
        let end = match self.panicked {
            Some(number) => format!("; the node panicked at input {number}"),
            None => String::new(),
        };
        let Self { first, inputs, .. } = self;
        format!("{inputs} inputs replayed from input {first} on: {outcome}{end}")
    }

    fn line(&self) -> Line {
        let Self { first, inputs, different, first_different, panicked } = *self;
        Line::End { first, inputs, different, first_different, panicked }
    }
}

/// Runs the command.
///
/// # Errors
/// When the file is no recording that this version can replay, or nothing can be printed.
pub fn run(args: ReplayArgs) -> anyhow::Result<Exit> {
    let mut output = Output::new();
    let recording = read(&args.file)?;
    let mut tally = Tally { first: recording.first(), ..Tally::default() };
    let mut replay = recording.replay();
    while let Some(outcome) = play(&args, &mut replay, &mut output)? {
        tally.count(&outcome);
        match outcome {
            Outcome::Played(played) => print(&args, &played, &mut output)?,
            Outcome::Panicked(panicked) => {
                print_panic(&args, &panicked, &mut output)?;
                break;
            }
        }
    }
    match args.json {
        true => output.json(&tally.line())?,
        false => output.line(tally.text())?,
    }
    output.flush()?;
    Ok(if tally.different == 0 { Exit::Success } else { Exit::Different })
}

/// Reads a recording. Other files are not read to their end.
fn read(path: &Path) -> anyhow::Result<Recording> {
    let unread = || format!("could not read {}", path.display());
    let useless = || format!("could not replay {}", path.display());
    let mut file = File::open(path).with_context(unread)?;
    let mut bytes = Vec::new();
    let preamble = Recording::PREAMBLE_BYTES as u64;
    file.by_ref().take(preamble).read_to_end(&mut bytes).with_context(unread)?;
    Recording::recognize(&bytes).with_context(useless)?;
    file.read_to_end(&mut bytes).with_context(unread)?;
    Recording::decode(&bytes).with_context(useless)
}

/// Takes the next step. The input is printed before it is taken, as taking it may end the process.
fn play(
    args: &ReplayArgs,
    replay: &mut Replay,
    output: &mut Output,
) -> anyhow::Result<Option<Outcome>> {
    let Some((number, recorded)) = replay.upcoming() else {
        return Ok(replay.next().map(Outcome::Played));
    };
    if number > args.to {
        return Ok(None);
    }
    let recorded = recorded.clone();
    if number >= args.from && !args.json {
        let Recorded { now, input, .. } = &recorded;
        output.line(format_args!("{number} at {} ns: {}", now.0, input_text(input)))?;
    }
    if recorded.effects.is_none() {
        output.flush()?;
    }
    // After a panic the replay is looked at no more.
    let outcome = catch_unwind(AssertUnwindSafe(|| replay.next()));
    Ok(match outcome {
        Ok(played) => played.map(Outcome::Played),
        Err(reason) => {
            let reason = panic_text(&*reason);
            Some(Outcome::Panicked(Panicked { number, recorded, reason }))
        }
    })
}

/// What a panic said.
fn panic_text(reason: &(dyn Any + Send)) -> String {
    let text = reason.downcast_ref::<&str>().copied();
    text.or_else(|| reason.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
        .to_owned()
}

fn print(args: &ReplayArgs, played: &Played, output: &mut Output) -> anyhow::Result<()> {
    match played {
        Played::Input(step) if step.number < args.from => {}
        Played::Input(step) if args.json => output.json(&step_line(step))?,
        Played::Input(step) => {
            for effect in &step.effects {
                output.line(format_args!("    {}", effect_text(effect)))?;
            }
            match step.verdict {
                Verdict::Same => {}
                Verdict::Different => output.line("    THESE EFFECTS ARE NOT THE RECORDED ONES")?,
                Verdict::Unfinished => output.line("    THE RECORDED NODE PANICKED HERE")?,
            }
        }
        Played::State { before, same } if args.json => {
            output.json(&Line::State { before: *before, same: *same })?;
        }
        Played::State { before, same: false } => {
            output.line(format_args!("THE STATE BEFORE INPUT {before} IS NOT THE RECORDED ONE"))?;
        }
        Played::State { same: true, .. } => {}
    }
    Ok(())
}

fn print_panic(args: &ReplayArgs, panicked: &Panicked, output: &mut Output) -> anyhow::Result<()> {
    let differs = panicked.differs();
    let Panicked { number, recorded: Recorded { now, input, .. }, reason } = panicked;
    if args.json {
        let (number, time, input, reason) = (*number, now.0, input_text(input), reason.clone());
        let verdict = if differs { "different" } else { "same" };
        return Ok(output.json(&Line::Panic { number, time, input, reason, verdict })?);
    }
    output.line(format_args!("    panic: {reason}"))?;
    if differs {
        output.line("    THE RECORDED NODE DID NOT PANIC HERE")?;
    }
    Ok(())
}

fn step_line(step: &Step) -> Line {
    let verdict = match step.verdict {
        Verdict::Same => "same",
        Verdict::Different => "different",
        Verdict::Unfinished => "unfinished",
    };
    Line::Step {
        number: step.number,
        time: step.now.0,
        input: input_text(&step.input),
        effects: step.effects.iter().map(effect_text).collect(),
        verdict,
    }
}
