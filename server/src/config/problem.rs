//! What is wrong with a configuration.

use std::fmt;

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: String,
    key: Option<String>,
    reason: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { place: place.into(), key: None, reason: reason.to_string(), hint: None }
    }

    pub(super) fn of_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Adds what was probably meant.
    pub(super) fn with_hint(mut self, meant: Option<String>) -> Self {
        self.hint = meant;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(meant) => write!(f, "; did you mean {meant}?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order in which it was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
