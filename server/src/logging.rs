//! The operator's log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging for people; `WALTZ_LOG` chooses what, as in `WALTZ_LOG=debug`.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("WALTZ_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    start_filtered(filter, false);
}

/// Starts logging what the filter says, as lines for people or as JSON.
pub fn start_with(filter: &str, json: bool) {
    start_filtered(EnvFilter::new(filter), json);
}

fn start_filtered(filter: EnvFilter, json: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only a second start could fail, and the first one's settings stay then.
    let _ = match json {
        true => log.json().flatten_event(true).with_span_list(false).try_init(),
        false => log.try_init(),
    };
}
