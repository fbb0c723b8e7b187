//! The file that holds one partition's log. All numbers are little-endian.
//!
//! ```text
//!  0  magic      "WALTZBAK"
//!  8  version    u32 (1)
//! 12  partition  u32
//! 16  first      u64  the id of the first record, were there one
//! 24  checksum   u32  CRC32C of everything before
//! 28  records, as they are in the log: each begins with its length (u32), 64 bytes at least
//!     end        u32 (0) where the next record's length would be
//!     count      u64  how many records there are
//!     checksum   u32  CRC32C of everything before, from the file's first byte on
//! ```
//!
//! A file gets its name when all of it is durable; until then it is called `.unfinished`. Every
//! record has a checksum of its own as well, made by the client that appended it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;
use waltz_client::{PartitionId, TransactionId};
use waltz_core::limits::Limits;
use waltz_core::record::{HEADER_BYTES, RecordView};

const MAGIC: [u8; 8] = *b"WALTZBAK";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 28;
const UNFINISHED: &str = "unfinished";
/// Records are longer nowhere: what says otherwise is damage, and nothing is allocated for it.
const LONGEST_RECORD: u32 = 16 << 20;

/// Whose log a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The partition.
    pub(super) partition: PartitionId,
    /// The id of the first record; what was before had been trimmed.
    pub(super) first: TransactionId,
}

/// Why a file is not a sound backup.
#[derive(Debug, Error)]
pub(super) enum BackupError {
    /// The system refuses.
    #[error("can't {action} {}: {source}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no backup: it does not begin as one", .0.display())]
    Magic(PathBuf),
    /// Another program wrote it.
    #[error("{} has format version {found}, and this program reads version {VERSION}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {reason}; use another copy", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where that was found.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

fn failed(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |source| BackupError::Io { action, file, source }
}

/// Writes a file.
#[derive(Debug)]
pub(super) struct BackupWriter {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
    checksum: u32,
    count: u64,
}

impl BackupWriter {
    /// Begins a file that gets this name at its end.
    ///
    /// # Errors
    /// When it can't be made. A file that has the name already is not replaced.
    pub(super) fn create(path: &Path, head: Head) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(failed("create", path)(io::ErrorKind::AlreadyExists.into()));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{UNFINISHED}"));
        let unfinished = PathBuf::from(unfinished);
        let file = File::create(&unfinished).map_err(failed("create", &unfinished))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { path: path.to_owned(), unfinished, file, checksum: 0, count: 0 };
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&head.partition.0.to_le_bytes());
        bytes.extend_from_slice(&head.first.0.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        writer.write(&bytes)?;
        Ok(writer)
    }

    /// Adds the log's next record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<(), BackupError> {
        self.count += 1;
        self.write(record)
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// When the disk refuses; then there is no file of that name.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let count = self.count;
        self.write(&0_u32.to_le_bytes())?;
        self.write(&count.to_le_bytes())?;
        let checksum = self.checksum;
        self.write(&checksum.to_le_bytes())?;
        self.file.flush().map_err(failed("write", &self.unfinished))?;
        self.file.get_ref().sync_all().map_err(failed("sync", &self.unfinished))?;
        std::fs::rename(&self.unfinished, &self.path).map_err(failed("name", &self.path))?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("sync", directory))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.file.write_all(bytes).map_err(failed("write", &self.unfinished))
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        // After the renaming there is none. What can't be removed says by its name what it is.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// Reads a file from its beginning to its end, and checks all of it on the way.
#[derive(Debug)]
pub(super) struct BackupReader {
    path: PathBuf,
    file: BufReader<File>,
    head: Head,
    checksum: u32,
    offset: u64,
    count: u64,
    is_over: bool,
}

impl BackupReader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it can't be read, or is not a backup that this program reads.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(failed("open", path))?;
        let head = Head { partition: PartitionId(0), first: TransactionId::FIRST };
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 20, file),
            head,
            checksum: 0,
            offset: 0,
            count: 0,
            is_over: false,
        };
        let magic: [u8; 8] = reader.take()?;
        if magic != MAGIC {
            return Err(BackupError::Magic(reader.path.clone()));
        }
        let version = reader.take_u32()?;
        if version != VERSION {
            return Err(BackupError::Version { file: reader.path.clone(), found: version });
        }
        let partition = PartitionId(reader.take_u32()?);
        let first = TransactionId(reader.take_u64()?);
        reader.check_sum("its head")?;
        reader.head = Head { partition, first };
        Ok(reader)
    }

    /// Whose log it is.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// How many records were read.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; none at the end, once all of the file was found to be sound.
    ///
    /// # Errors
    /// When it is damaged or cut short, or the disk fails.
    pub(super) fn next_record(&mut self) -> Result<Option<Bytes>, BackupError> {
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
        let expected = TransactionId(self.head.first.0.wrapping_add(self.count));
        let limits = Limits { record: LONGEST_RECORD, locks: u32::MAX, ..Limits::default() };
        let (id, partition) = match RecordView::parse(&record, &limits) {
            Ok((view, _)) => (view.id(), view.req_id().partition),
            Err(error) => return Err(self.damaged(error.to_string())),
        };
        if (id, partition) != (expected, self.head.partition) {
            let text = format!("record {id} of {partition} is where {expected} belongs");
            return Err(self.damaged(text));
        }
        self.count += 1;
        Ok(Some(Bytes::from(record)))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let count = self.take_u64()?;
        if count != self.count {
            let read = self.count;
            return Err(self.damaged(format!("it says {count} records and holds {read}")));
        }
        self.check_sum("the file")?;
        match self.file.read(&mut [0]).map_err(failed("read", &self.path))? {
            0 => {
                self.is_over = true;
                Ok(())
            }
            _ => Err(self.damaged("it goes on after its end".to_owned())),
        }
    }

    fn check_sum(&mut self, of: &str) -> Result<(), BackupError> {
        let computed = self.checksum;
        let found = self.take_u32()?;
        match found == computed {
            true => Ok(()),
            false => Err(self.damaged(format!("the checksum of {of} is not what was written"))),
        }
    }

    fn take_u32(&mut self) -> Result<u32, BackupError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn take_u64(&mut self) -> Result<u64, BackupError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("it is cut short".to_owned()));
            }
            Err(error) => return Err(failed("read", &self.path)(error)),
        }
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn damaged(&self, reason: String) -> BackupError {
        BackupError::Damaged { file: self.path.clone(), offset: self.offset, reason }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use waltz_client::{ClientId, LockId, Mark, ReqId};
    use waltz_core::id::Generation;
    use waltz_core::record::{NewRecord, append_with_id};

    use super::*;

    const HEAD: Head = Head { partition: PartitionId(3), first: TransactionId(10) };

    fn record(id: u64) -> Bytes {
        let (client, generation, partition) = (ClientId(1), Generation(1), HEAD.partition);
        let new = NewRecord {
            req_id: ReqId { client, generation, partition, sequence: id },
            header: 5,
            computed_at: Mark::NONE,
            writes: &[LockId::new("account", id)],
            reads: &[],
            appends: &[],
            data: b"ten euros",
        };
        let (mut encoded, mut out) = (BytesMut::new(), BytesMut::new());
        new.encode(&Limits::default(), &mut encoded).unwrap();
        let (view, _) = RecordView::parse(&encoded, &Limits::default()).unwrap();
        append_with_id(&view, TransactionId(id), &mut out);
        out.freeze()
    }

    fn written(path: &Path) {
        let mut writer = BackupWriter::create(path, HEAD).unwrap();
        (10..14).for_each(|id| writer.push(&record(id)).unwrap());
        writer.finish().unwrap();
    }

    fn read(path: &Path) -> Result<(Head, Vec<Bytes>), BackupError> {
        let mut reader = BackupReader::open(path)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok((reader.head(), records))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p3.waltz");
        written(&path);
        let (head, records) = read(&path).unwrap();
        assert_eq!((head, records), (HEAD, (10..14).map(record).collect()));
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing unfinished is left");
        let error = BackupWriter::create(&path, HEAD).unwrap_err();
        assert!(error.to_string().contains("p3.waltz"), "{error}");
    }

    #[test]
    fn a_file_that_was_not_finished_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = BackupWriter::create(&directory.path().join("a"), HEAD).unwrap();
        writer.push(&record(10)).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_changed_missing_or_added_byte_goes_unnoticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        written(&path);
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len() {
            for bit in [0x01, 0x80] {
                let mut bytes = sound.clone();
                bytes[at] ^= bit;
                std::fs::write(&path, bytes).unwrap();
                let error = read(&path).unwrap_err();
                assert!(error.to_string().contains(path.to_str().unwrap()), "{at}: {error}");
            }
            std::fs::write(&path, &sound[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
        std::fs::write(&path, [&sound[..], b"x"].concat()).unwrap();
        assert!(matches!(read(&path), Err(BackupError::Damaged { .. })));
        assert!(matches!(read(&directory.path().join("b")), Err(BackupError::Io { .. })));
    }
}
