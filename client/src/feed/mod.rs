//! Pulling the log: a partition's committed transactions as a stream.
//!
//! A feed has a connection and a machine of its own, on its client's runtime. One that is read
//! slowly holds nobody back: the server sends what the feed's credit allows, and waits.
//!
//! ```text
//!   machine ──▶ source (batches) ──▶ filter ──▶ loading (in order, bounded) ──▶ next
//! ```

mod options;
mod source;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use waltz_core::client::{Answer, Start, Unanswered};
use waltz_core::id::{Mark, PartitionId};

use crate::call::{Call, Question};
use crate::error::FeedError;
use crate::transaction::Transaction;
pub use options::FeedOptions;
pub(crate) use source::{Handover, Source};

/// Most transactions in one [`Feed::next_batch`].
const BATCH: usize = 4096;

/// A partition's committed transactions, in order and without a gap but for those filtered out.
/// Begun by [`Client::feed`](crate::Client::feed).
///
/// It ends with a [`FeedError`], or where [`FeedOptions::until_now`] says. It goes on when its
/// client is closed, and stops when it is dropped. It is a [`Stream`], too.
///
/// ```no_run
/// # use waltz_client::{Client, FeedError, Mark, PartitionId};
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut feed = client.feed(PartitionId(0), Mark::NONE);
/// while let Some(transaction) = feed.next().await {
///     let transaction = transaction?;
///     println!("{} {:?}", transaction.id(), transaction.bytes().await?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Feed {
    partition: PartitionId,
    options: FeedOptions,
    source: Arc<Source>,
    batches: mpsc::Receiver<Vec<Transaction>>,
    batch: std::vec::IntoIter<Transaction>,
    /// What has passed the filter, oldest first.
    loading: VecDeque<Loading>,
    /// What was let in or filtered out.
    seen: Option<Mark>,
    /// Its machine lives as long as this.
    calls: mpsc::UnboundedSender<Call>,
}

/// A transaction on its way out.
enum Loading {
    Here(Transaction),
    Asked(Transaction, oneshot::Receiver<Result<Answer, Unanswered>>),
}

/// The driver's part of a new feed.
pub(crate) struct Begun {
    pub(crate) source: Arc<Source>,
    pub(crate) partition: PartitionId,
    pub(crate) headers: bool,
    pub(crate) until_now: bool,
    pub(crate) calls: mpsc::UnboundedReceiver<Call>,
    pub(crate) weak: mpsc::WeakUnboundedSender<Call>,
}

impl Feed {
    pub(crate) fn new(partition: PartitionId, start: Start, options: FeedOptions) -> (Self, Begun) {
        let (calls, receiver) = mpsc::unbounded_channel();
        let (source, batches) = Source::new(start);
        let begun = Begun {
            source: source.clone(),
            partition,
            headers: options.carries_headers(),
            until_now: options.until_now,
            calls: receiver,
            weak: calls.downgrade(),
        };
        let seen = match start {
            Start::After(mark) => Some(mark),
            Start::Newest => None,
        };
        let (batch, loading) = (Vec::new().into_iter(), VecDeque::new());
        let feed = Self { partition, options, source, batches, batch, loading, seen, calls };
        (feed, begun)
    }

    /// Nothing more will come.
    pub(crate) fn end(&self, error: FeedError) {
        self.source.end(Some(error));
    }

    /// Its partition.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Everything up to here was given out or filtered out: another feed may go on after it.
    /// `None` while a feed of the newest transactions has given out nothing.
    pub fn mark(&self) -> Option<Mark> {
        match self.loading.front() {
            Some(Loading::Here(next) | Loading::Asked(next, _)) => Some(Mark::before(next.id())),
            None => self.seen,
        }
    }

    /// The next transaction; `None` once it has ended. Nothing is lost when this is not awaited to
    /// its end.
    pub async fn next(&mut self) -> Option<Result<Transaction, FeedError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The next transaction with those that follow at once; `None` once it has ended.
    ///
    /// # Errors
    /// Why it ended, after everything that came before.
    pub async fn next_batch(&mut self) -> Option<Result<Vec<Transaction>, FeedError>> {
        let mut batch = match self.next().await? {
            Ok(first) => vec![first],
            Err(error) => return Some(Err(error)),
        };
        poll_fn(|cx| {
            while batch.len() < BATCH && self.poll_front(cx) {
                match Pin::new(&mut *self).poll_next(cx) {
                    Poll::Ready(Some(Ok(transaction))) => batch.push(transaction),
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
        Some(Ok(batch))
    }

    /// Whether the next transaction is at hand.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> bool {
        let _ = self.poll_fill(cx);
        matches!(self.loading.front(), Some(Loading::Here(_)))
    }

    /// Lets transactions in as far as there is room. Ready with `false`: none will come.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.loading.len() < self.options.prefetch {
            let Some(transaction) = self.batch.next() else {
                match ready!(self.batches.poll_recv(cx)) {
                    Some(batch) => self.batch = batch.into_iter(),
                    None => return Poll::Ready(false),
                }
                continue;
            };
            self.seen = Some(transaction.id().mark());
            if self.options.passes(&transaction) {
                let loading = self.load(transaction);
                self.loading.push_back(loading);
            }
        }
        Poll::Ready(true)
    }

    fn load(&self, transaction: Transaction) -> Loading {
        if !self.options.loads() {
            return Loading::Here(transaction);
        }
        let (done, answer) = oneshot::channel();
        let (partition, id) = (transaction.partition(), transaction.id());
        let question = Question::Fetch { partition, id };
        // A machine that is gone drops the question, which is an answer.
        let _ = self.calls.send(Call::Ask { question, done });
        Loading::Asked(transaction, answer)
    }

    /// Nothing more is given out.
    fn stop(&mut self) {
        self.seen = self.mark();
        self.loading.clear();
        self.batch = Vec::new().into_iter();
        self.batches.close();
        while self.batches.try_recv().is_ok() {}
    }

    /// The oldest transaction, once its data is here.
    fn poll_oldest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Transaction, FeedError>> {
        let result = loop {
            let answered = match self.loading.front_mut() {
                None => return Poll::Pending,
                Some(Loading::Here(transaction)) => break Ok(transaction.clone()),
                Some(Loading::Asked(_, answer)) => ready!(Pin::new(answer).poll(cx)),
            };
            match answered.unwrap_or(Err(Unanswered::Closed)) {
                Ok(Answer::Record(record)) => {
                    let whole = Transaction::of_record(record);
                    break whole.map_err(|error| FeedError::Failed(error.to_string()));
                }
                Ok(other) => unreachable!("a fetch is answered by a record, not {other:?}"),
                // Committed data is somewhere: it is asked for until it comes.
                Err(Unanswered::TimedOut(_)) => self.load_again(),
                Err(why) => break Err(FeedError::new(self.partition, why)),
            }
        };
        match &result {
            Ok(_) => drop(self.loading.pop_front()),
            Err(_) => self.stop(),
        }
        Poll::Ready(result)
    }

    fn load_again(&mut self) {
        if let Some(Loading::Asked(transaction, _)) = self.loading.pop_front() {
            let again = self.load(transaction);
            self.loading.push_front(again);
        }
    }
}

impl Stream for Feed {
    type Item = Result<Transaction, FeedError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let feed = self.get_mut();
        let filled = feed.poll_fill(cx);
        if feed.loading.is_empty() {
            return match filled {
                Poll::Ready(false) => Poll::Ready(feed.source.error().map(Err)),
                _ => Poll::Pending,
            };
        }
        feed.poll_oldest(cx).map(Some)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, options, .. } = self;
        f.debug_struct("Feed")
            .field("partition", partition)
            .field("mark", &self.mark())
            .field("options", options)
            .finish_non_exhaustive()
    }
}
