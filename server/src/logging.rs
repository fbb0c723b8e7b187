//! The operator's log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// A store's client tells of each attempt; what came of all of them is told by who asked.
const QUIET: &str = "object_store=warn";

/// Starts logging for people; `WALTZ_LOG` chooses what, as in `WALTZ_LOG=debug`.
pub fn start(default: &str) {
    let chosen = std::env::var("WALTZ_LOG").ok();
    let chosen = chosen.filter(|text| EnvFilter::try_new(text).is_ok());
    start_with(chosen.as_deref().unwrap_or(default), false);
}

/// Starts logging what the filter says, as lines for people or as JSON.
pub fn start_with(filter: &str, json: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(quieted(filter))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only a second start could fail, and the first one's settings stay then.
    let _ = match json {
        true => log.json().flatten_event(true).with_span_list(false).try_init(),
        false => log.try_init(),
    };
}

/// The filter, which may still name what is quiet without it.
fn quieted(filter: &str) -> EnvFilter {
    let parsed = EnvFilter::new(filter);
    match parsed.max_level_hint() {
        Some(level) if level <= LevelFilter::WARN => parsed,
        _ => EnvFilter::new(format!("{QUIET},{filter}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_the_last_word() {
        for (filter, effective) in [
            ("off", "off"),
            ("warn", "warn"),
            ("info", "object_store=warn,info"),
            ("info,object_store=debug", "object_store=debug,info"),
        ] {
            assert_eq!(quieted(filter).to_string(), effective);
        }
    }
}
