//! What the operating system tells of this process, under the names that all exporters use.

use super::metric::Metric;
use crate::measure::process;

pub(super) fn metrics() -> Vec<Metric> {
    let own = std::process::id();
    vec![
        Metric::counter("process_cpu_seconds", "Processor time used, in seconds.")
            .value(process::cpu_time(own).map(|time| time.as_secs_f64())),
        Metric::gauge("process_resident_memory_bytes", "Memory in use, in bytes.")
            .value(process::resident_memory(own)),
        Metric::gauge("process_open_fds", "Open files and sockets.")
            .value(process::open_files(own)),
    ]
}
