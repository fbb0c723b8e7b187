//! The page about all metrics, `docs/metrics.md`: its table comes from the metrics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use waltz_core::id::{ClusterKey, NodeId};
use waltz_core::limits::Limits;
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;
use waltz_runtime::journal::Journal;
use waltz_runtime_tokio::{FileDisk, JournalStatistics, JournalThread};

use super::metric::{Kind, Metric};
use super::{Snapshot, encode};
use crate::commands::serve::journal_config;

const BEGIN: &str = "<!-- metrics: written by the tests of server/src/metrics -->\n";
const END: &str = "<!-- end of metrics -->\n";

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))
}

/// Those of a journal that was just made.
fn statistics() -> Arc<JournalStatistics> {
    let directory = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(directory.path()).unwrap();
    let limits = Limits::default();
    let config = journal_config(NodeId(1), ClusterKey(1), limits);
    let mut recovered = Recovered::new(limits, Planted::NONE);
    let (journal, _) = Journal::open(disk.clone(), config, 1, &mut recovered).unwrap();
    JournalThread::start(journal, disk).unwrap().statistics()
}

fn snapshot(journal: &JournalStatistics) -> Snapshot<'_> {
    Snapshot {
        node: 1,
        cluster: "waltz",
        data: Path::new("/"),
        measurements: None,
        journal,
        archive: None,
    }
}

fn row(metric: &Metric) -> String {
    let (name, kind) = match metric.kind {
        Kind::Counter => (format!("{}_total", metric.name), "counter"),
        Kind::Gauge => (metric.name.to_owned(), "gauge"),
        Kind::Histogram => (metric.name.to_owned(), "histogram"),
    };
    format!("| `{name}` | {kind} | {} | {} |\n", metric.labels.join(", "), metric.help)
}

fn written(page: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let rows: String = snapshot(&statistics()).metrics().iter().map(row).collect();
    let head = "\n| metric | kind | labels | meaning |\n|---|---|---|---|\n";
    format!("{before}{BEGIN}{head}{rows}\n{END}{after}")
}

#[test]
fn the_page_has_every_metric_as_it_is() {
    let page = std::fs::read_to_string(path()).unwrap();
    let again = "cargo test -p waltz-server --lib metrics::document::rewrite -- --ignored";
    assert!(page == written(&page), "docs/metrics.md is not up to date; write it anew: {again}");
}

#[test]
#[ignore = "writes docs/metrics.md"]
fn rewrite() {
    let page = std::fs::read_to_string(path()).unwrap();
    std::fs::write(path(), written(&page)).unwrap();
}

#[test]
fn a_node_that_does_not_answer_still_tells_of_its_journal_and_process() {
    let text = encode(&snapshot(&statistics()));
    assert!(text.contains("\nwaltz_loop_answered 0\n"), "{text}");
    assert!(text.contains("\nwaltz_journal_segments 1\n"), "{text}");
    assert!(text.contains("\nprocess_open_fds "), "{text}");
    assert!(!text.contains("\nwaltz_ready "), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}
