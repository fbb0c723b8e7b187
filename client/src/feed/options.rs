//! What a feed gives out, and how much is loaded ahead.

use std::fmt;

use crate::transaction::Transaction;

type Filter = Box<dyn Fn(&Transaction) -> bool + Send + Sync>;

/// How a [`Feed`](super::Feed) is to be. By default it gives out every transaction with its data.
///
/// ```
/// use waltz_client::FeedOptions;
///
/// const DEPOSIT: u32 = 3;
/// let deposits = FeedOptions::new().filter(|transaction| transaction.header() == DEPOSIT);
/// # let _ = deposits;
/// ```
pub struct FeedOptions {
    filter: Option<Filter>,
    headers_only: bool,
    pub(super) until_now: bool,
    pub(super) prefetch: usize,
}

impl FeedOptions {
    /// Everything, with its data, for ever.
    pub fn new() -> Self {
        Self { filter: None, headers_only: false, until_now: false, prefetch: 64 }
    }

    /// Gives out only what passes: decided by header, locks, ids and marks, before any data is
    /// loaded. The data of what passes is loaded ahead.
    #[must_use]
    pub fn filter(self, passes: impl Fn(&Transaction) -> bool + Send + Sync + 'static) -> Self {
        Self { filter: Some(Box::new(passes)), ..self }
    }

    /// Loads no data until it is asked for with [`Transaction::bytes`] or [`Transaction::data`],
    /// which work while the feed lives.
    #[must_use]
    pub fn headers_only(self) -> Self {
        Self { headers_only: true, ..self }
    }

    /// Ends once everything that is committed now was given out.
    #[must_use]
    pub fn until_now(self) -> Self {
        Self { until_now: true, ..self }
    }

    /// Loads the data of at most so many filtered transactions ahead, 64 by default, at least 1.
    #[must_use]
    pub fn prefetch(self, transactions: usize) -> Self {
        Self { prefetch: transactions.max(1), ..self }
    }

    /// Whether the feed comes without data.
    pub(super) fn carries_headers(&self) -> bool {
        self.headers_only || self.filter.is_some()
    }

    /// Whether data is loaded ahead.
    pub(super) fn loads(&self) -> bool {
        self.filter.is_some() && !self.headers_only
    }

    pub(super) fn passes(&self, transaction: &Transaction) -> bool {
        self.filter.as_ref().is_none_or(|passes| passes(transaction))
    }
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FeedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filter, headers_only, until_now, prefetch } = self;
        f.debug_struct("FeedOptions")
            .field("filter", &filter.is_some())
            .field("headers_only", headers_only)
            .field("until_now", until_now)
            .field("prefetch", prefetch)
            .finish()
    }
}
