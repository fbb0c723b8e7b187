//! A complete configuration file, as `waltz config example` prints it.

use super::key::{Initial, Key};
use super::{SECTIONS, layers};

/// A file with every key, what it means, and its default; keys without one are comments with an
/// example. A node that is given this file runs as one that is given none.
pub fn example() -> String {
    let mut text = String::from(
        "# Waltz, a node's configuration. Every key stands here with its default; keys that have none\n\
         # are commented out and show an example. A variable such as WALTZ_NODE__LISTEN goes over what\n\
         # stands here, and a flag such as --listen over both.\n",
    );
    for section in SECTIONS {
        text += "\n";
        text += &comment(section.about);
        text += &format!("[{}]\n", section.name);
        for key in section.keys {
            text += &entry(key);
        }
    }
    text
}

fn entry(key: &Key) -> String {
    let line = match key.initial {
        Initial::Value(text) => format!("{} = {}\n", key.name, layers::literal(text)),
        Initial::Unset(text) => format!("# {} = {}\n", key.name, layers::literal(text)),
    };
    format!("\n{}{line}", comment(key.about))
}

fn comment(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("#{line}\n")).collect()
}
