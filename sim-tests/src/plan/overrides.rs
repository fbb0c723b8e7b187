//! What differs from a seed's plan: how a run is made smaller, and named when it is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{FaultKind, Plan, Strength};
use crate::story;

/// Changes to a plan. Written `nodes=3,services=1,without=kill+power`; nothing, if nothing differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Overrides {
    /// So many nodes.
    pub nodes: Option<u32>,
    /// So many replicas.
    pub replicas: Option<u32>,
    /// So many partitions.
    pub partitions: Option<u32>,
    /// So many application instances.
    pub services: Option<u32>,
    /// So many operations under way in each.
    pub workers: Option<u32>,
    /// So many operations.
    pub operations: Option<u32>,
    /// Faults for so many milliseconds.
    pub storm_ms: Option<u32>,
    /// Bits rot about every so many milliseconds.
    pub rot_ms: Option<u32>,
    /// Writes are misdirected about every so many milliseconds.
    pub misdirect_ms: Option<u32>,
    /// If there is a number: five replicas lose two for good, get two others, and lose two more.
    pub story: Option<u32>,
    /// Whether the coordinator is outside of the cluster: 1 or 0.
    pub outside: Option<u32>,
    /// Whether there is an archive, if logs are trimmed: 1 or 0.
    pub archive: Option<u32>,
    /// None of these faults.
    pub without: BTreeSet<FaultKind>,
    /// The same plan with other luck: schedule, delays and moments of faults are drawn anew.
    pub luck: Option<u32>,
}

impl Overrides {
    /// No fault of this kind.
    #[must_use]
    pub fn without(mut self, fault: FaultKind) -> Self {
        self.without.insert(fault);
        self
    }

    pub(super) fn apply(&self, plan: &mut Plan) {
        let shape = &mut plan.shape;
        if let Some(nodes) = self.nodes {
            // A node that only stores, or only serves, does both in another cluster.
            (shape.nodes, shape.storages, shape.servers) = (nodes, nodes, nodes);
        }
        shape.replicas = self.replicas.unwrap_or(shape.replicas);
        shape.partitions = self.partitions.unwrap_or(shape.partitions);
        plan.services = self.services.unwrap_or(plan.services).max(1);
        plan.workers = self.workers.map_or(plan.workers, |workers| workers as usize).max(1);
        plan.operations = self.operations.map_or(plan.operations, u64::from).max(1);
        plan.storm = self.storm_ms.map_or(plan.storm, |ms| Duration::from_millis(ms.into()));
        let at_rest = [(FaultKind::Rot, self.rot_ms), (FaultKind::Misdirect, self.misdirect_ms)];
        for (fault, every_ms) in at_rest {
            plan.faults.extend(every_ms.map(|every_ms| (fault, Strength(every_ms.max(1).into()))));
        }
        plan.faults.retain(|fault, _| !self.without.contains(fault));
        plan.old &= plan.faults.contains_key(&FaultKind::Roll);
        plan.outside = self.outside.map_or(plan.outside, |outside| outside != 0);
        plan.archive = self.archive.map_or(plan.archive, |archive| archive != 0) && plan.trims();
        plan.faults.retain(|fault, _| plan.archive || *fault != FaultKind::ArchiveOutage);
        if self.story.is_some() {
            story::prepare(plan);
        }
    }

    /// Its numbers by name.
    fn numbers(&self) -> [(&'static str, Option<u32>); 13] {
        [
            ("nodes", self.nodes),
            ("replicas", self.replicas),
            ("partitions", self.partitions),
            ("services", self.services),
            ("workers", self.workers),
            ("operations", self.operations),
            ("storm_ms", self.storm_ms),
            ("rot_ms", self.rot_ms),
            ("misdirect_ms", self.misdirect_ms),
            ("story", self.story),
            ("outside", self.outside),
            ("archive", self.archive),
            ("luck", self.luck),
        ]
    }

    fn number_mut(&mut self, name: &str) -> Option<&mut Option<u32>> {
        match name {
            "nodes" => Some(&mut self.nodes),
            "replicas" => Some(&mut self.replicas),
            "partitions" => Some(&mut self.partitions),
            "services" => Some(&mut self.services),
            "workers" => Some(&mut self.workers),
            "operations" => Some(&mut self.operations),
            "storm_ms" => Some(&mut self.storm_ms),
            "rot_ms" => Some(&mut self.rot_ms),
            "misdirect_ms" => Some(&mut self.misdirect_ms),
            "story" => Some(&mut self.story),
            "outside" => Some(&mut self.outside),
            "archive" => Some(&mut self.archive),
            "luck" => Some(&mut self.luck),
            _ => None,
        }
    }
}

impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers().into_iter();
        let mut parts: Vec<String> =
            numbers.filter_map(|(name, number)| Some(format!("{name}={}", number?))).collect();
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|fault| fault.name()).collect();
            parts.push(format!("without={}", names.join("+")));
        }
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Overrides {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut overrides = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or("a change is written NAME=VALUE")?;
            if name == "without" {
                for name in value.split('+') {
                    let fault = FaultKind::named(name);
                    overrides.without.insert(fault.ok_or(format!("no fault is called {name:?}"))?);
                }
                continue;
            }
            let number = overrides.number_mut(name).ok_or(format!("nothing is called {name:?}"))?;
            *number = Some(value.parse().map_err(|error| format!("{part}: {error}"))?);
        }
        Ok(overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_survive_being_written() {
        let overrides = Overrides { nodes: Some(3), luck: Some(7), ..Overrides::default() }
            .without(FaultKind::Power)
            .without(FaultKind::OneWay);
        let text = overrides.to_string();
        assert_eq!(text, "nodes=3,luck=7,without=power+one-way");
        assert_eq!(text.parse(), Ok(overrides));
        assert_eq!("".parse(), Ok(Overrides::default()));
        assert_eq!(Overrides::default().to_string(), "");
        for (name, _) in Overrides::default().numbers() {
            let text = format!("{name}=5");
            assert_eq!(text.parse::<Overrides>().map(|parsed| parsed.to_string()), Ok(text));
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for text in ["nodes", "nodes=x", "colour=3", "without=rain"] {
            assert!(text.parse::<Overrides>().is_err(), "{text}");
        }
    }
}
