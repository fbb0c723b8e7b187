//! What must hold in a cluster, checked on a survey of it.
//!
//! A check fails when something is not as it should be, and warns of what may be meant: a move that
//! is under way, a node that is down and keeps nothing. A survey is no snapshot: what changes while
//! nodes are asked can show as a difference that the next survey does not find.

mod nodes;
mod partitions;
mod records;
mod replicas;

pub use records::Inspections;
use serde::Serialize;

use crate::commands::survey::Survey;

/// How a check ended; the worse the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It holds, and there is something to know.
    Warn,
    /// It does not hold.
    Fail,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What holds when it passes.
    pub name: &'static str,
    /// Whether it does.
    pub outcome: Outcome,
    /// What was found that is not as it should be.
    pub found: Vec<String>,
}

impl Check {
    /// A check that has found nothing yet.
    fn new(name: &'static str) -> Self {
        Self { name, outcome: Outcome::Pass, found: Vec::new() }
    }

    fn warn(&mut self, text: String) {
        self.outcome = self.outcome.max(Outcome::Warn);
        self.found.push(text);
    }

    fn fail(&mut self, text: String) {
        self.outcome = Outcome::Fail;
        self.found.push(text);
    }
}

/// Checks everything that a survey and the nodes' inspections tell.
pub fn check(survey: &Survey, inspections: &Inspections, max_lag: u64) -> Vec<Check> {
    let view = &survey.view;
    vec![
        nodes::answer(survey),
        nodes::coordinator(survey),
        nodes::agreement(survey),
        partitions::made(survey),
        partitions::served(survey),
        partitions::open(survey),
        partitions::sets(survey),
        partitions::targets(survey),
        replicas::quorum(survey),
        replicas::joined(survey),
        replicas::disks(survey),
        replicas::damage(survey),
        replicas::lag(survey, max_lag),
        replicas::versions(survey),
        records::told(inspections),
        records::figures(view, inspections),
        records::journals(inspections),
        records::replicas(view, inspections),
        records::placement(view, inspections),
    ]
}

#[cfg(test)]
mod tests;
