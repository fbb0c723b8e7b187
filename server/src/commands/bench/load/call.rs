//! The two ways to write, as one kind of call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use waltz_client::{
    Append, AppendError, AppendRequest, CallbackError, Client, Outcome, PartitionId,
    PartitionLocalLock, Submission, SubmitError, TransactionBuilder, TransactionContext,
};

/// A call under way.
pub(super) enum Call {
    Append(Append),
    Submission(Submission),
}

/// How a call ended.
pub(super) enum Ended {
    Committed,
    Conflict,
    Failed(String),
}

impl Call {
    /// A single try.
    pub(super) fn append(
        client: &Client,
        partition: PartitionId,
        payload: Bytes,
        lock: Option<PartitionLocalLock>,
    ) -> Self {
        let request = AppendRequest::new(payload);
        let request = match lock {
            Some(lock) => request.write_lock(lock),
            None => request,
        };
        Self::Append(client.append(partition, request))
    }

    /// A context that is executed until it is committed.
    pub(super) fn submit(
        client: &Client,
        partition: PartitionId,
        payload: Bytes,
        lock: Option<PartitionLocalLock>,
    ) -> Self {
        Self::Submission(client.submit(Write { partition, payload, lock }))
    }
}

impl Future for Call {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match &mut *self {
            Self::Append(append) => Pin::new(append).poll(cx).map(|ended| match ended {
                Ok(_) => Ended::Committed,
                Err(AppendError::Conflict { .. }) => Ended::Conflict,
                Err(error) => Ended::Failed(error.to_string()),
            }),
            Self::Submission(submission) => {
                Pin::new(submission).poll(cx).map(|ended| match ended {
                    Outcome::Committed(_) => Ended::Committed,
                    Outcome::Failed(SubmitError::Conflict(_)) => Ended::Conflict,
                    other => Ended::Failed(format!("{other:?}")),
                })
            }
        }
    }
}

/// Writes always the same.
struct Write {
    partition: PartitionId,
    payload: Bytes,
    lock: Option<PartitionLocalLock>,
}

impl TransactionContext for Write {
    fn partition(&self, _: u32) -> PartitionId {
        self.partition
    }

    async fn execute(&mut self, builder: &mut TransactionBuilder) -> Result<bool, CallbackError> {
        if let Some(lock) = self.lock {
            builder.write_lock(lock);
        }
        builder.data_bytes(self.payload.clone());
        Ok(true)
    }
}
