//! What a session has told of each key.

use std::collections::HashMap;

use waltz_core::coordinator::{Key, Revision};

/// When each key was changed last, as far as it was told.
///
/// What a session learns of a key by a watch and by its own change comes in any order. It is told in
/// the order in which it happened, and once.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<Key, Revision>);

impl Seen {
    /// Whether a change is news; what is older than what was told is not.
    pub(crate) fn is_news(&mut self, key: &Key, revision: Revision) -> bool {
        match self.0.get_mut(key) {
            Some(last) if *last >= revision => false,
            Some(last) => {
                *last = revision;
                true
            }
            None => {
                self.0.insert(key.clone(), revision);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_newer_is_news() {
        let (mut seen, key) = (Seen::default(), Key::from("nodes/1"));
        assert!(seen.is_news(&key, Revision(4)));
        assert!(!seen.is_news(&key, Revision(4)), "told already");
        assert!(!seen.is_news(&key, Revision(3)), "what was before is over");
        assert!(seen.is_news(&key, Revision(5)));
        assert!(seen.is_news(&Key::from("nodes/2"), Revision(1)), "another key");
    }
}
