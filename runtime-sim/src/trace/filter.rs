//! Which lines of a trace somebody wants to read.

use std::collections::BTreeSet;

use waltz_core::id::{PartitionId, ReqId, TransactionId};
use waltz_core::io::Address;

use super::event::{Event, Line};

/// Lines that pass every condition given; all lines, without any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// They concern this host.
    pub host: Option<Address>,
    /// They concern this partition.
    pub partition: Option<PartitionId>,
    /// They concern this transaction: its attempt to append it, its copies, its feeds.
    pub transaction: Option<(PartitionId, TransactionId)>,
}

/// The lines kept so far.
#[derive(Debug)]
pub(super) struct Kept {
    filter: Filter,
    lines: Vec<(String, Vec<ReqId>)>,
    /// The attempts that became the transaction asked for: one, or another after a cut.
    became: BTreeSet<ReqId>,
}

impl Kept {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, lines: Vec::new(), became: BTreeSet::new() }
    }

    /// Keeps an event's line if it may be wanted. Which attempt becomes a transaction is known
    /// only later, so appends are kept until then.
    pub(super) fn add(&mut self, at: &str, event: &Event<'_>) {
        let Filter { host, partition, transaction } = &self.filter;
        if host.as_ref().is_some_and(|host| !event.concerns(host)) {
            // Other hosts still tell which attempt became the transaction.
            if let Some((partition, id)) = *transaction {
                self.learn(&event.line(), partition, id);
            }
            return;
        }
        let line = event.line();
        if partition.is_some() && line.mention.partition != *partition {
            return;
        }
        let Some((partition, id)) = *transaction else {
            return self.lines.push((format!("{at} {}", line.text), Vec::new()));
        };
        if line.mention.names(partition, id) {
            self.learn(&line, partition, id);
            self.lines.push((format!("{at} {}", line.text), Vec::new()));
        } else if line.mention.ids.is_none() && !line.mention.appended.is_empty() {
            self.lines.push((format!("{at} {}", line.text), line.mention.appended));
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let wanted = |(_, appended): &&(String, Vec<ReqId>)| {
            appended.is_empty() || appended.iter().any(|attempt| self.became.contains(attempt))
        };
        self.lines.iter().filter(wanted).map(|(line, _)| line.clone()).collect()
    }

    fn learn(&mut self, line: &Line, partition: PartitionId, id: TransactionId) {
        let Some((first, _)) = line.mention.ids else { return };
        if line.mention.names(partition, id) {
            self.became.extend(line.mention.appended.get((id.0 - first.0) as usize));
        }
    }
}
