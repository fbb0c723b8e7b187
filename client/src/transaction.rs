//! One committed transaction, as an application sees it.

use bytes::Bytes;
use tokio::sync::mpsc;
use waltz_core::id::{Mark, PartitionId, ReqId, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::lock::{LockId, LockKind};
use waltz_core::record::{RecordView, Run};

use crate::call::{self, Call};
use crate::error::{DataError, FetchError};
use crate::serializer::Serializer;

/// A committed transaction. Cheap to clone: its bytes are shared.
#[derive(Debug, Clone)]
pub struct Transaction {
    id: TransactionId,
    req_id: ReqId,
    header: u32,
    computed_at: Mark,
    record: Bytes,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    /// At this offset of the record.
    Here(usize),
    /// Asked for when it is wanted. A weak sender: transactions don't keep a client open.
    Remote(mpsc::WeakUnboundedSender<Call>),
}

impl Transaction {
    fn new(record: Bytes, view: &RecordView<'_>, loader: Option<&Loader>) -> Self {
        let data = match loader {
            None => Data::Here(view.data_offset()),
            Some(Loader(calls)) => Data::Remote(calls.clone()),
        };
        Self {
            id: view.id(),
            req_id: view.req_id(),
            header: view.header(),
            computed_at: view.computed_at(),
            record,
            data,
        }
    }

    /// The transactions of a run; with a loader, its records came without their data.
    pub(crate) fn of_run(run: &Run, loader: Option<&Loader>, out: &mut Vec<Self>) {
        let mut offset = 0;
        for view in run.records() {
            let end = offset + view.bytes().len();
            out.push(Self::new(run.bytes.slice(offset..end), &view, loader));
            offset = end;
        }
    }

    /// The transaction in one encoded record: as it is fetched, or made up to test callbacks
    /// without a cluster.
    ///
    /// # Errors
    /// [`FetchError::Failed`] when the bytes are not a record.
    pub fn of_record(record: Bytes) -> Result<Self, FetchError> {
        let (view, _) = RecordView::parse(&record, &unlimited())
            .map_err(|error| FetchError::Failed(error.to_string()))?;
        Ok(Self::new(record.clone(), &view, None))
    }

    /// Its place in the partition.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Its partition.
    pub fn partition(&self) -> PartitionId {
        self.req_id.partition
    }

    /// The attempt that appended it.
    pub fn req_id(&self) -> ReqId {
        self.req_id
    }

    /// The application's 32 bits.
    pub fn header(&self) -> u32 {
        self.header
    }

    /// What its client had applied when it computed the transaction.
    pub fn computed_at(&self) -> Mark {
        self.computed_at
    }

    /// How long it is as it was fed.
    pub(crate) fn fed_bytes(&self) -> usize {
        self.record.len()
    }

    /// Its locks, with their kinds.
    pub fn locks(&self) -> Vec<(LockKind, LockId)> {
        match RecordView::parse(&self.record, &unlimited()) {
            Ok((view, _)) => view.locks().collect(),
            Err(error) => unreachable!("the record was verified when it came: {error}"),
        }
    }

    /// Its data as bytes. Loaded now unless it rode along: any number of concurrent calls load it
    /// once, across lost connections.
    ///
    /// # Errors
    /// When it can't be fetched.
    pub async fn bytes(&self) -> Result<Bytes, FetchError> {
        match &self.data {
            Data::Here(offset) => Ok(self.record.slice(*offset..)),
            Data::Remote(calls) => {
                let calls = calls.upgrade().ok_or(FetchError::Closed)?;
                let record = call::fetch(&calls, self.partition(), self.id).await?;
                let (view, _) = RecordView::parse(&record, &unlimited())
                    .map_err(|error| FetchError::Failed(error.to_string()))?;
                Ok(record.slice(view.data_offset()..))
            }
        }
    }

    /// The same transaction with its data at hand, so that [`Self::bytes`] does not wait.
    ///
    /// # Errors
    /// When it can't be fetched.
    pub async fn load(&self) -> Result<Self, FetchError> {
        match &self.data {
            Data::Here(_) => Ok(self.clone()),
            Data::Remote(calls) => {
                let calls = calls.upgrade().ok_or(FetchError::Closed)?;
                Self::of_record(call::fetch(&calls, self.partition(), self.id).await?)
            }
        }
    }

    /// All of it, encoded as it is in the log; loaded now unless its data rode along.
    ///
    /// # Errors
    /// When it can't be fetched.
    pub async fn record(&self) -> Result<Bytes, FetchError> {
        Ok(self.load().await?.record)
    }

    /// Its data as the value it stands for.
    ///
    /// # Errors
    /// When it can't be fetched, or is not what the serializer reads.
    pub async fn data<T, S: Serializer<T>>(&self, serializer: &S) -> Result<T, DataError> {
        let bytes = self.bytes().await?;
        serializer.deserialize(&bytes).map_err(|error| DataError::Serializer { id: self.id, error })
    }
}

/// How transactions that came without their data load it.
#[derive(Debug, Clone)]
pub(crate) struct Loader(pub(crate) mpsc::WeakUnboundedSender<Call>);

/// Records were held against the client's limits when they came.
fn unlimited() -> Limits {
    Limits { record: u32::MAX, locks: u32::MAX, ..Limits::default() }
}
