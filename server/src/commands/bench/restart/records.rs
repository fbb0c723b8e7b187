//! What is written into the journal that is opened: runs of records that are all alike.

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use waltz_core::id::{
    ClientId, CreationId, Epoch, Generation, Mark, Member, NodeId, PartitionId, ReplicaSet, ReqId,
    SessionId, SetVersion, StorageId, TransactionId,
};
use waltz_core::limits::Limits;
use waltz_core::log::{LogSummary, SetChange};
use waltz_core::record::{NewRecord, RecordView, append_with_id};
use waltz_core::wire::{ReplicaRequest, ToReplica};

/// The one node, with its one disk.
pub(super) const MEMBER: Member = Member { node: NodeId(1), storage: StorageId(1) };

const SESSION: SessionId = SessionId { epoch: Epoch(1), server: NodeId(1), nonce: 1 };

/// How many replicas there are, and what comes to them.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// A record without its id.
    record: Bytes,
    /// Records in each run.
    pub(super) run: u32,
    /// Replicas.
    pub(super) partitions: u32,
}

impl Shape {
    /// Runs of so many records with so many bytes of data each.
    ///
    /// # Errors
    /// When a record or a run is longer than any may be.
    pub(super) fn new(payload: usize, run: u32, partitions: u32) -> anyhow::Result<Self> {
        let limits = Limits::default();
        let (client, generation) = (ClientId(1), Generation(1));
        let req_id = ReqId { client, generation, partition: PartitionId(0), sequence: 1 };
        let new = NewRecord {
            req_id,
            header: 0,
            computed_at: Mark::NONE,
            writes: &[],
            reads: &[],
            appends: &[],
            data: &vec![b'x'; payload],
        };
        let mut record = BytesMut::new();
        new.encode(&limits, &mut record)
            .with_context(|| format!("no record has {payload} bytes of data; choose --payload"))?;
        let (bytes, limit) = (record.len() * run as usize, limits.frame_payload as usize);
        ensure!(
            bytes <= limit,
            "{run} records of {payload} bytes are longer than a run may be ({limit} bytes); \
             choose a smaller --run"
        );
        Ok(Self { record: record.freeze(), run, partitions })
    }

    /// The next run of a log, from its first id on.
    ///
    /// # Errors
    /// None, as long as the record is as it was made.
    pub(super) fn records(&self, first: TransactionId) -> anyhow::Result<Bytes> {
        let (record, _) = RecordView::parse(&self.record, &Limits::default())?;
        let mut run = BytesMut::with_capacity(self.record.len() * self.run as usize);
        for id in first.0..first.0 + u64::from(self.run) {
            append_with_id(&record, TransactionId(id), &mut run);
        }
        Ok(run.freeze())
    }
}

/// What makes a replica and has it join the session, in order.
pub(super) fn beginning() -> [ReplicaRequest; 3] {
    let set = ReplicaSet(vec![MEMBER]);
    let chosen = LogSummary::new(SetChange::initial(SetVersion::FIRST, set.clone()));
    let at = chosen.position();
    [
        ReplicaRequest::Open { version: SetVersion::FIRST, replicas: set, learner: None },
        ReplicaRequest::Adopt { chosen },
        ReplicaRequest::Join { at },
    ]
}

/// A request to one of the replicas.
pub(super) fn request(partition: PartitionId, request: ReplicaRequest) -> ToReplica {
    ToReplica { partition, creation: CreationId(1), session: SESSION, request }
}
