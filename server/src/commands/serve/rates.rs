//! How fast clients may send, from the settings.

use std::num::NonZeroU64;

use waltz_core::rate::Rates;

use super::node::Conflict;
use crate::config::LimitSettings;

/// The lowest rate in bytes that can be set: clients put so much into one message. Whoever completes
/// no message for some seconds counts as dead, and none may take that long because it is slowed down.
const LOWEST_BYTES_PER_SECOND: u64 = 1 << 20;

/// What each connection of a client is bound by.
pub(super) fn of(settings: &LimitSettings) -> Rates {
    Rates {
        bytes_per_second: settings.bytes_per_second.and_then(|bytes| NonZeroU64::new(bytes.0)),
        frames_per_second: settings.messages_per_second.map(NonZeroU64::from),
    }
}

/// Whether clients can send their largest messages in time.
///
/// # Errors
/// When they can't.
pub(super) fn check(settings: &LimitSettings) -> Result<(), Conflict> {
    let record = settings.record.0;
    let least = LOWEST_BYTES_PER_SECOND.max(record.into());
    match settings.bytes_per_second {
        Some(bytes) if bytes.0 < least => Err(Conflict::new(format_args!(
            "at {} bytes a second (limits.bytes_per_second) clients would take too long for one \
             message of {least}; set {least} or more (records have up to {record}: --max-record, \
             limits.record)",
            bytes.0
        ))),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    fn settings(variables: &[(&str, &str)]) -> LimitSettings {
        let variable =
            |(name, value): &(&str, &str)| (format!("WALTZ_LIMITS__{name}"), (*value).to_owned());
        load(None, variables.iter().map(variable), &Flags::default()).unwrap().settings.limits
    }

    #[test]
    fn clients_are_bound_by_what_is_set_and_by_nothing_else() {
        assert_eq!(of(&settings(&[])), Rates::default());
        let set = settings(&[("BYTES_PER_SECOND", "2M"), ("MESSAGES_PER_SECOND", "100")]);
        let (bytes, frames) = (NonZeroU64::new(2 << 20), NonZeroU64::new(100));
        assert_eq!(of(&set), Rates { bytes_per_second: bytes, frames_per_second: frames });
        assert_eq!(check(&set), Ok(()));
    }

    #[test]
    fn a_rate_below_one_message_in_a_second_is_refused() {
        for (bytes, record, least) in
            [("0", "1M", "1048576"), ("1023K", "1000", "1048576"), ("3M", "4M", "4194304")]
        {
            let set = settings(&[("BYTES_PER_SECOND", bytes), ("RECORD", record)]);
            let conflict = check(&set).unwrap_err().to_string();
            assert!(conflict.contains(&format!("set {least} or more")), "{conflict}");
        }
        assert_eq!(check(&settings(&[("BYTES_PER_SECOND", "4M"), ("RECORD", "4M")])), Ok(()));
    }
}
