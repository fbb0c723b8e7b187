//! Dropping a handle withdraws its call; detaching lets it run on; closing the client ends it.

use std::sync::Arc;

use tokio::sync::Notify;
use waltz_core::id::{PartitionId, TransactionId};

use super::api::{Journal, Telling, connected};
use super::loopback::P;
use crate::{
    AppendRequest, CallbackError, NoDatabase, SubmitError, TransactionBuilder, TransactionContext,
};

/// Executes for ever, and tells how it ended.
struct Endless {
    journal: Journal,
    release: Arc<Notify>,
}

impl TransactionContext for Endless {
    fn partition(&self, _: u32) -> PartitionId {
        P
    }

    async fn execute(&mut self, _: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        self.journal.note("executing");
        self.release.notified().await;
        Ok(true)
    }

    fn on_exception(&mut self, error: &SubmitError) {
        let cancelled = matches!(error, SubmitError::Cancelled);
        self.journal.note(format!("cancelled: {cancelled}"));
    }
}

/// Lets every other task run until nothing more happens in them at once.
async fn others_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_submission_is_withdrawn_even_while_it_executes() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let (journal, release) = (Journal::default(), Arc::default());
    let context = Endless { journal: journal.clone(), release: Arc::clone(&release) };
    let submission = client.submit(context);
    others_run().await;
    drop(submission);
    client.flush().await.expect("nothing is left to wait for");
    release.notify_one();
    others_run().await;
    assert_eq!(journal.taken(), ["executing", "cancelled: true"]);
    assert_eq!(loopback.committed(), 0);
}

#[tokio::test]
async fn a_dropped_submission_that_was_sent_is_told_that_it_is_in_doubt() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    loopback.hang();
    let journal = Journal::default();
    let submission = client.submit(Telling::new(&journal));
    others_run().await;
    drop(submission);
    others_run().await;
    assert_eq!(journal.taken(), ["executed at none", "in doubt"]);
}

#[tokio::test]
async fn a_dropped_append_is_withdrawn_and_a_detached_one_goes_on() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    client.append(P, AppendRequest::new("x")).detach();
    client.flush().await.expect("it answers");
    assert_eq!(loopback.committed(), 1);
    loopback.hang();
    let (sent, kept) =
        (client.append(P, AppendRequest::new("x")), client.append(P, AppendRequest::new("x")));
    others_run().await;
    drop(sent);
    others_run().await;
    let journal = Journal::default();
    let submission = client.submit(Telling::new(&journal));
    others_run().await;
    submission.detach();
    others_run().await;
    assert_eq!(journal.taken(), ["executed at 0"], "a detached one is not withdrawn");
    drop(client);
    let kept = kept.await;
    assert!(kept.is_err(), "{kept:?}");
    others_run().await;
    assert_eq!(journal.taken(), ["in doubt"], "it ends with its client");
}

#[tokio::test]
async fn what_executes_while_its_client_closes_is_told_before_that_is_over() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let (journal, release) = (Journal::default(), Arc::default());
    let context = Endless { journal: journal.clone(), release: Arc::clone(&release) };
    client.submit(context).detach();
    others_run().await;
    loopback.dawdle();
    let closing = client.close();
    others_run().await;
    release.notify_one();
    closing.await;
    assert_eq!(journal.taken(), ["executing", "cancelled: false"]);
}

#[tokio::test]
async fn a_handle_that_ended_withdraws_nothing() {
    let (loopback, client) = connected(NoDatabase::newest()).await;
    let append = client.append(P, AppendRequest::new("x"));
    client.flush().await.expect("it answers");
    drop(append);
    let mut append = client.append(P, AppendRequest::new("x"));
    assert_eq!((&mut append).await, Ok(TransactionId(1)));
    drop(append);
    others_run().await;
    assert_eq!(loopback.committed(), 2);
}
