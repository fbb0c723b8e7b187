//! Who reads a partition and must not be overtaken by its trimming.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Mark;
use crate::wire::OperatorRefusal;

/// The most consumers registered in a partition.
pub const MAX_CONSUMERS: usize = 64;
/// The longest name of a consumer, in bytes.
pub const MAX_CONSUMER_NAME: usize = 64;

/// The registered consumers of a partition: what each has applied, by its name.
///
/// A consumer's mark only grows. Their number and the length of their names are bounded, because
/// the coordinator keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Consumers(BTreeMap<String, Mark>);

impl Consumers {
    /// What each has applied, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Mark)> {
        self.0.iter().map(|(name, mark)| (name.as_str(), *mark))
    }

    /// What all of them have applied; `None` when there are none.
    pub fn slowest(&self) -> Option<Mark> {
        self.0.values().copied().min()
    }

    /// A consumer has applied everything up to `mark`; one that is new is registered.
    ///
    /// # Errors
    /// When it is new and its name can't be one, or there are as many as there may be.
    pub fn advance(&mut self, name: &str, mark: Mark) -> Result<(), OperatorRefusal> {
        if let Some(applied) = self.0.get_mut(name) {
            *applied = mark.max(*applied);
            return Ok(());
        }
        if name.is_empty() || name.len() > MAX_CONSUMER_NAME {
            return Err(OperatorRefusal::ConsumerName { most: MAX_CONSUMER_NAME as u32 });
        }
        if self.0.len() >= MAX_CONSUMERS {
            return Err(OperatorRefusal::TooManyConsumers { most: MAX_CONSUMERS as u32 });
        }
        self.0.insert(name.to_owned(), mark);
        Ok(())
    }

    /// Nobody waits for this consumer any more.
    ///
    /// # Errors
    /// When there is no such consumer.
    pub fn remove(&mut self, name: &str) -> Result<(), OperatorRefusal> {
        match self.0.remove(name) {
            Some(_) => Ok(()),
            None => Err(OperatorRefusal::UnknownConsumer { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TransactionId;

    fn mark(id: u64) -> Mark {
        TransactionId(id).mark()
    }

    #[test]
    fn the_slowest_counts_and_none_goes_back() {
        let mut consumers = Consumers::default();
        assert_eq!(consumers.slowest(), None);
        consumers.advance("search", mark(9)).expect("registered");
        consumers.advance("audit", Mark::NONE).expect("registered");
        assert_eq!(consumers.slowest(), Some(Mark::NONE));
        consumers.advance("audit", mark(12)).expect("advanced");
        consumers.advance("search", mark(3)).expect("late news");
        assert_eq!(consumers.slowest(), Some(mark(9)));
        consumers.remove("search").expect("it is there");
        assert_eq!(consumers.slowest(), Some(mark(12)));
        let unknown = OperatorRefusal::UnknownConsumer { name: "search".to_owned() };
        assert_eq!(consumers.remove("search"), Err(unknown));
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let mut consumers = Consumers::default();
        let name = OperatorRefusal::ConsumerName { most: 64 };
        assert_eq!(consumers.advance("", mark(0)), Err(name.clone()));
        assert_eq!(consumers.advance(&"x".repeat(65), mark(0)), Err(name));
        for number in 0..MAX_CONSUMERS {
            consumers.advance(&number.to_string(), mark(0)).expect("there is room");
        }
        let full = OperatorRefusal::TooManyConsumers { most: 64 };
        assert_eq!(consumers.advance("one more", mark(0)), Err(full));
        assert_eq!(consumers.advance("7", mark(8)), Ok(()), "registered ones still advance");
    }
}
