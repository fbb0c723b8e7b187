//! Several records in one transaction: all of them are in the log, or none is.
//!
//! ```text
//!  0  magic    4 bytes  "WBAT"                               little-endian throughout
//!  4  version  u32      1
//!  8  records, end to end:
//!      0  header  u32   the record's own 32 bits
//!      4  length  u32   of its data
//!      8  data
//! ```
//!
//! A batch is a transaction like any other to the log: it has one id, one ReqId and one set of locks,
//! and comes to the application as a whole. Nothing between it and the disk can take it apart.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::error::CallbackError;
use crate::serializer::Serializer;

const MAGIC: [u8; 4] = *b"WBAT";
const VERSION: u32 = 1;
const PREFIX_BYTES: usize = 8;
const RECORD_PREFIX_BYTES: usize = 8;

/// Records of one partition that are appended together, in order.
///
/// ```
/// use waltz_client::{AppendRequest, Batch, PartitionLocalLock};
///
/// let mut batch = Batch::new();
/// batch.push(1, "debit 7 by 20").push(2, "credit 9 by 20");
/// let request = AppendRequest::new(batch.clone())
///     .write_lock(PartitionLocalLock::new("account", 7))
///     .write_lock(PartitionLocalLock::new("account", 9));
///
/// // Whoever is fed the transaction reads the same records from its data.
/// let records = Batch::read(&batch.into())?;
/// assert_eq!(records[1].header, 2);
/// assert_eq!(records[1].data, "credit 9 by 20");
/// # let _ = request;
/// # Ok::<(), waltz_client::BatchError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch(BytesMut);

/// One record of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchRecord {
    /// The record's own 32 bits.
    pub header: u32,
    /// Its bytes.
    pub data: Bytes,
}

/// Why bytes are no [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// They do not begin as one: the transaction was appended as something else.
    #[error("the data is no batch of records")]
    NotABatch,
    /// A later program wrote it.
    #[error("the batch has version {0}; this program reads version {VERSION}: upgrade it")]
    Version(u32),
    /// A record says that it is longer than what is left.
    #[error("record {index} of the batch is cut short: {have} bytes of {need}")]
    Short {
        /// Which record, from 0 on.
        index: usize,
        /// Bytes at hand.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
}

impl Batch {
    /// A batch without records.
    pub fn new() -> Self {
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES);
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(VERSION);
        Self(bytes)
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If the data is longer than 4 GiB; no transaction can be.
    pub fn push(&mut self, header: u32, data: impl AsRef<[u8]>) -> &mut Self {
        let data = data.as_ref();
        let length = u32::try_from(data.len()).expect("a record's data is shorter than 4 GiB");
        self.0.reserve(RECORD_PREFIX_BYTES + data.len());
        self.0.put_u32_le(header);
        self.0.put_u32_le(length);
        self.0.put_slice(data);
        self
    }

    /// The records in a transaction's data. They share its bytes.
    ///
    /// # Errors
    /// When the data is no batch, or part of it is missing.
    pub fn read(data: &Bytes) -> Result<Vec<BatchRecord>, BatchError> {
        let mut rest = data.clone();
        if rest.len() < PREFIX_BYTES || rest.split_to(MAGIC.len()) != MAGIC[..] {
            return Err(BatchError::NotABatch);
        }
        match rest.get_u32_le() {
            VERSION => {}
            version => return Err(BatchError::Version(version)),
        }
        let mut records = Vec::new();
        while !rest.is_empty() {
            let short = |have, need| BatchError::Short { index: records.len(), have, need };
            if rest.len() < RECORD_PREFIX_BYTES {
                return Err(short(rest.len(), RECORD_PREFIX_BYTES));
            }
            let (header, length) = (rest.get_u32_le(), rest.get_u32_le() as usize);
            if rest.len() < length {
                return Err(short(rest.len(), length));
            }
            records.push(BatchRecord { header, data: rest.split_to(length) });
        }
        Ok(records)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Batch> for Bytes {
    fn from(batch: Batch) -> Self {
        batch.0.freeze()
    }
}

/// Reads and writes the records of a batch as a transaction's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batches;

impl Serializer<Vec<BatchRecord>> for Batches {
    fn serialize(&self, records: &Vec<BatchRecord>) -> Result<Bytes, CallbackError> {
        let mut batch = Batch::new();
        for BatchRecord { header, data } in records {
            batch.push(*header, data);
        }
        Ok(batch.into())
    }

    fn deserialize(&self, bytes: &Bytes) -> Result<Vec<BatchRecord>, CallbackError> {
        Ok(Batch::read(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<BatchRecord> {
        let record = |header, data: &'static str| BatchRecord { header, data: data.into() };
        vec![record(1, "one"), record(0, ""), record(u32::MAX, "three")]
    }

    #[test]
    fn records_come_back_in_their_order() {
        let bytes = Batches.serialize(&records()).expect("they are few");
        assert_eq!(Batches.deserialize(&bytes).expect("it is a batch"), records());
        assert_eq!(Batch::read(&Batch::new().into()), Ok(Vec::new()));
    }

    #[test]
    fn other_data_is_no_batch() {
        for data in [&b""[..], b"WBA", b"{\"amount\": 7}"] {
            assert_eq!(
                Batch::read(&Bytes::from_static(data)),
                Err(BatchError::NotABatch),
                "{data:?}"
            );
        }
    }

    #[test]
    fn a_later_version_is_refused() {
        let read = Batch::read(&Bytes::from_static(b"WBAT\x02\0\0\0"));
        assert_eq!(read, Err(BatchError::Version(2)));
    }

    #[test]
    fn a_batch_cut_short_is_refused_wherever_it_is_cut() {
        let bytes = Batches.serialize(&records()).expect("they are few");
        let ends = [8, 19, 27, 40];
        assert_eq!(bytes.len(), ends[3]);
        for length in (8..bytes.len()).filter(|length| !ends.contains(length)) {
            let read = Batch::read(&bytes.slice(..length));
            assert!(matches!(read, Err(BatchError::Short { .. })), "{length}");
        }
    }
}
