//! Records of consecutive ids, one after another in one file or object, with what tells that all of
//! them are there. All numbers are little-endian.
//!
//! ```text
//!  0  magic      8 bytes: what it is
//!  8  version    u32
//! 12  fields     whose records they are, as its kind has it
//!  …  checksum   u32  CRC32C of everything before
//!     records, as they are in the log: each begins with its length (u32), 64 bytes at least
//!     end        u32 (0) where the next record's length would be
//!     count      u64  how many records there are
//!     checksum   u32  CRC32C of everything before, from the first byte on
//! ```
//!
//! Every record has a checksum of its own as well, made by the client that appended it.

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;
use waltz_core::id::{PartitionId, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::record::{HEADER_BYTES, RecordView};

/// Records are longer nowhere: what says otherwise is damage, and nothing is allocated for it.
const LONGEST_RECORD: u32 = 16 << 20;

/// What kind of stream it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// How it begins.
    pub magic: [u8; 8],
    /// The version that this program writes and reads.
    pub version: u32,
}

/// Whose records a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The partition.
    pub partition: PartitionId,
    /// The id of the first record, were there one.
    pub first: TransactionId,
}

/// Why bytes are not a sound stream of records.
#[derive(Debug, Error)]
pub enum StreamError {
    /// They can't be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it does not begin as one")]
    Magic,
    /// Another program wrote it.
    #[error("it has format version {found}, and this program reads version {read}")]
    Version {
        /// Its version.
        found: u32,
        /// The one that is read.
        read: u32,
    },
    /// Bytes are not what was written.
    #[error("it is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where that was found.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Writes a stream.
#[derive(Debug)]
pub struct RecordWriter<W> {
    out: W,
    checksum: u32,
    count: u64,
}

impl<W: Write> RecordWriter<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin(out: W, format: Format, fields: &[u8]) -> io::Result<Self> {
        let mut writer = Self { out, checksum: 0, count: 0 };
        writer.write(&format.magic)?;
        writer.write(&format.version.to_le_bytes())?;
        writer.write(fields)?;
        let checksum = writer.checksum;
        writer.write(&checksum.to_le_bytes())?;
        Ok(writer)
    }

    /// Adds the log's next record.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.count += 1;
        self.write(record)
    }

    /// How many records there are so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is written to.
    pub fn out(&self) -> &W {
        &self.out
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn end(mut self) -> io::Result<W> {
        let count = self.count;
        self.write(&0_u32.to_le_bytes())?;
        self.write(&count.to_le_bytes())?;
        let checksum = self.checksum;
        self.write(&checksum.to_le_bytes())?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a stream from its beginning to its end, and checks all of it on the way.
#[derive(Debug)]
pub struct RecordReader<R> {
    source: R,
    holding: Holding,
    checksum: u32,
    offset: u64,
    count: u64,
    is_over: bool,
}

impl<R: Read> RecordReader<R> {
    /// Opens a stream whose fields say whose records it holds.
    ///
    /// # Errors
    /// When it can't be read, or is not one of this format.
    pub fn open<const N: usize, F>(
        source: R,
        format: Format,
        fields: impl FnOnce([u8; N]) -> (Holding, F),
    ) -> Result<(Self, F), StreamError> {
        let holding = Holding { partition: PartitionId(0), first: TransactionId::FIRST };
        let mut reader = Self { source, holding, checksum: 0, offset: 0, count: 0, is_over: false };
        if reader.take()? != format.magic {
            return Err(StreamError::Magic);
        }
        let found = reader.take_u32()?;
        if found != format.version {
            return Err(StreamError::Version { found, read: format.version });
        }
        let bytes = reader.take()?;
        reader.check_sum("its head")?;
        let (holding, said) = fields(bytes);
        reader.holding = holding;
        Ok((reader, said))
    }

    /// Whose records they are.
    pub fn holding(&self) -> Holding {
        self.holding
    }

    /// How many records were read.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; none at the end, once all of the stream was found to be sound.
    ///
    /// # Errors
    /// When it is damaged or cut short, or can't be read.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.is_over {
            return Ok(None);
        }
        let length: [u8; 4] = self.take()?;
        let bytes = u32::from_le_bytes(length);
        if bytes == 0 {
            self.end()?;
            return Ok(None);
        }
        if (bytes as usize) < HEADER_BYTES || bytes > LONGEST_RECORD {
            return Err(self.damaged(format!("a record can't have {bytes} bytes")));
        }
        let mut record = vec![0; bytes as usize];
        record[..4].copy_from_slice(&length);
        self.fill(&mut record[4..])?;
        self.check(&record)?;
        self.count += 1;
        Ok(Some(Bytes::from(record)))
    }

    /// Whether these bytes are the record that belongs here.
    fn check(&self, record: &[u8]) -> Result<(), StreamError> {
        let Holding { partition: of, first } = self.holding;
        let expected = TransactionId(first.0.wrapping_add(self.count));
        let limits = Limits { record: LONGEST_RECORD, locks: u32::MAX, ..Limits::default() };
        let (id, partition) = match RecordView::parse(record, &limits) {
            Ok((view, _)) => (view.id(), view.req_id().partition),
            Err(error) => return Err(self.damaged(error.to_string())),
        };
        match (id, partition) == (expected, of) {
            true => Ok(()),
            false => {
                Err(self.damaged(format!("record {id} of {partition} is where {expected} belongs")))
            }
        }
    }

    fn end(&mut self) -> Result<(), StreamError> {
        let count = self.take_u64()?;
        if count != self.count {
            let read = self.count;
            return Err(self.damaged(format!("it says {count} records and holds {read}")));
        }
        self.check_sum("all of it")?;
        match self.source.read(&mut [0])? {
            0 => {
                self.is_over = true;
                Ok(())
            }
            _ => Err(self.damaged("it goes on after its end".to_owned())),
        }
    }

    fn check_sum(&mut self, of: &str) -> Result<(), StreamError> {
        let computed = self.checksum;
        let found = self.take_u32()?;
        match found == computed {
            true => Ok(()),
            false => Err(self.damaged(format!("the checksum of {of} is not what was written"))),
        }
    }

    fn take_u32(&mut self) -> Result<u32, StreamError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn take_u64(&mut self) -> Result<u64, StreamError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StreamError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StreamError> {
        match self.source.read_exact(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("it is cut short".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn damaged(&self, reason: String) -> StreamError {
        StreamError::Damaged { offset: self.offset, reason }
    }
}
