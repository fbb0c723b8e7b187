//! The configuration file: where each value stands in it, and what is in it that nobody knows.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{self, Layer};
use super::nearest::nearest;
use super::problem::Problem;
use super::{Key, SECTIONS, Section, keys};

/// Reads a file. What can't be read is a problem, and left out.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text, problems),
        Err(error) => {
            problems.push(Problem::new(name, format_args!("could not be read: {error}")));
            Layer::default()
        }
    }
}

/// Reads the text of a file of this name.
pub(super) fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut file = File { name, text, problems, layer: Layer::default() };
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        file.problem(offset, error.message(), None);
    }
    // What comes of a table that is broken would only repeat that.
    if errors.is_empty() {
        file.read_sections(table.into_inner());
    }
    file.layer
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
    layer: Layer,
}

impl File<'_> {
    fn read_sections(&mut self, table: DeTable<'_>) {
        for (name, value) in table {
            let (offset, name) = (name.span().start, name.into_inner());
            let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
                let meant = meant_at_top(&name);
                self.problem(offset, format_args!("no section is called {name}"), meant);
                continue;
            };
            match value.into_inner() {
                DeValue::Table(table) => self.read_keys(section, table),
                _ => {
                    let reason = format_args!("{name} is a section; write [{name}] above its keys");
                    self.problem(offset, reason, None);
                }
            }
        }
    }

    fn read_keys(&mut self, section: &'static Section, table: DeTable<'_>) {
        for (name, value) in table {
            let (offset, name) = (name.span().start, name.into_inner());
            match section.keys.iter().find(|key| key.name == name) {
                Some(key) => self.read_value(key, value),
                None => {
                    let path = format!("{}.{name}", section.name);
                    let meant = meant_in(section, &name);
                    self.problem(offset, format_args!("no key is called {path}"), meant);
                }
            }
        }
    }

    fn read_value(&mut self, key: &'static Key, value: Spanned<DeValue<'_>>) {
        let offset = value.span().start;
        match layers::from_toml(value) {
            Ok(kind) => {
                let origin = self.place(offset);
                self.layer.set(key, origin, kind);
            }
            Err(reason) => self.problem(offset, format_args!("{}: {reason}", key.path()), None),
        }
    }

    fn problem(&mut self, offset: usize, reason: impl std::fmt::Display, meant: Option<String>) {
        self.problems.push(Problem::new(self.place(offset), reason).with_hint(meant));
    }

    fn place(&self, offset: usize) -> String {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.name)
    }
}

/// What a name at the top may have meant: a section, or a key whose section was left out.
fn meant_at_top(name: &str) -> Option<String> {
    let key = keys().find(|key| key.name == name).map(Key::path);
    key.or_else(|| nearest(name, SECTIONS.iter().map(|section| section.name.to_owned())))
}

/// What a name in a section may have meant: a key there, or one of the same name elsewhere.
fn meant_in(section: &Section, name: &str) -> Option<String> {
    let here = nearest(name, section.keys.iter().map(|key| key.name.to_owned()));
    let here = here.map(|key| format!("{}.{key}", section.name));
    here.or_else(|| keys().find(|key| key.name == name).map(Key::path))
}
