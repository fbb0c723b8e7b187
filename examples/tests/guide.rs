//! What the guide shows is what there is: excerpts, commands and flags. Its programs are tests of the
//! documentation.

use std::path::Path;
use std::process::Command;

use clap::Parser;
use waltz_server::args::Cli;

const GUIDE: &str = include_str!("../../docs/guide.md");

/// The blocks of this kind, each with the line before it.
fn blocks(kind: &str) -> Vec<(&'static str, &'static str)> {
    let opening = format!("\n```{kind}\n");
    let mut blocks = Vec::new();
    let mut rest = GUIDE;
    while let Some((before, after)) = rest.split_once(&opening) {
        let (block, after) = after.split_once("```").expect("a block is closed");
        blocks.push((before.lines().last().unwrap_or_default(), block));
        rest = after;
    }
    blocks
}

#[test]
fn excerpts_are_what_the_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let excerpts = blocks("rust,ignore");
    assert!(!excerpts.is_empty());
    for (before, excerpt) in excerpts {
        let file = before.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let file = file.unwrap_or_else(|| panic!("where is this from?\n{excerpt}"));
        let source = std::fs::read_to_string(root.join(file)).expect(file);
        assert!(source.contains(excerpt), "{file} does not have this any more:\n{excerpt}");
    }
}

#[test]
fn the_first_example_takes_ten_commands_at_most() {
    let (section, _) = GUIDE.split_once("## Reading the bank").expect("its section ends");
    let commands = blocks("sh").into_iter().filter(|(_, block)| section.contains(block));
    let lines: usize = commands.map(|(_, block)| block.lines().count()).sum();
    // The clone is the first.
    assert!((1..10).contains(&lines), "{lines} commands and the clone");
}

#[test]
fn commands_and_flags_are_there() {
    let lines: Vec<_> = blocks("sh").into_iter().flat_map(|(_, block)| block.lines()).collect();
    let mut cargo = lines.into_iter().filter_map(|line| line.strip_prefix("cargo run --release "));
    let mut checked = 0;
    for command in &mut cargo {
        let (target, flags) = command.split_once(" -- ").unwrap_or((command, ""));
        match target.split_once(" --bin ") {
            Some(("-p waltz-examples", program)) => check_example(program, flags),
            None if target == "-p waltz-server" => check_program(flags),
            _ => panic!("which program is {command:?}?"),
        }
        checked += 1;
    }
    assert!(checked > 0);
}

fn check_program(arguments: &str) {
    let arguments = ["waltz"].into_iter().chain(arguments.split_whitespace());
    if let Err(error) = Cli::try_parse_from(arguments) {
        panic!("{error}");
    }
}

fn check_example(program: &str, flags: &str) {
    let path = match program {
        "bank" => env!("CARGO_BIN_EXE_bank"),
        "orders" => env!("CARGO_BIN_EXE_orders"),
        "read_model" => env!("CARGO_BIN_EXE_read_model"),
        "rebuild" => env!("CARGO_BIN_EXE_rebuild"),
        other => panic!("there is no example {other}"),
    };
    let output = Command::new(path).arg("--help").output().expect("the program starts");
    let help = String::from_utf8(output.stdout).expect("it writes text");
    for flag in flags.split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{program} has no {flag}:\n{help}");
    }
}
