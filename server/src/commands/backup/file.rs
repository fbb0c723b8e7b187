//! The file that holds one partition's log: a stream of records ([`waltz_archive::stream`]) with these
//! fields. All numbers are little-endian.
//!
//! ```text
//!  0  magic      "WALTZBAK"
//!  8  version    u32 (1)
//! 12  partition  u32
//! 16  first      u64  the id of the first record, were there one
//! 24  checksum   u32
//! 28  records
//! ```
//!
//! A file gets its name when all of it is durable; until then it is called `.unfinished`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;
use waltz_archive::stream::{Format, Holding, RecordReader, RecordWriter, StreamError};
use waltz_client::{PartitionId, TransactionId};

const FORMAT: Format = Format { magic: *b"WALTZBAK", version: 1 };
const FIELD_BYTES: usize = 12;
const UNFINISHED: &str = "unfinished";

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
    /// It is something else, or is not what was written.
    #[error("{} is no sound backup: {source}; use another copy", file.display())]
    Unsound {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: StreamError,
    },
}

fn failed(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let file = file.to_owned();
    move |source| BackupError::Io { action, file, source }
}

fn unsound(file: &Path) -> impl FnOnce(StreamError) -> BackupError {
    let file = file.to_owned();
    move |source| match source {
        StreamError::Io(source) => BackupError::Io { action: "read", file, source },
        source => BackupError::Unsound { file, source },
    }
}

/// Writes a file.
#[derive(Debug)]
pub(super) struct BackupWriter {
    path: PathBuf,
    unfinished: Unfinished,
    records: RecordWriter<BufWriter<File>>,
}

/// A file's name until all of it is durable.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the renaming there is none. What can't be removed says by its name what it is.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl BackupWriter {
    /// Begins a file that gets this name at its end.
    ///
    /// # Errors
    /// When it can't be made. A file that has the name already is not replaced.
    pub(super) fn create(path: &Path, holding: Holding) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(failed("create", path)(io::ErrorKind::AlreadyExists.into()));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{UNFINISHED}"));
        let unfinished = Unfinished(PathBuf::from(unfinished));
        let file = File::create(&unfinished.0).map_err(failed("create", &unfinished.0))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut fields = Vec::with_capacity(FIELD_BYTES);
        fields.extend_from_slice(&holding.partition.0.to_le_bytes());
        fields.extend_from_slice(&holding.first.0.to_le_bytes());
        let records = RecordWriter::begin(file, FORMAT, &fields);
        let records = records.map_err(failed("write", &unfinished.0))?;
        Ok(Self { path: path.to_owned(), unfinished, records })
    }

    /// Adds the log's next record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<(), BackupError> {
        self.records.push(record).map_err(failed("write", &self.unfinished.0))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// When the disk refuses; then there is no file of that name.
    pub(super) fn finish(self) -> Result<(), BackupError> {
        let Self { path, unfinished: Unfinished(ref unfinished), records } = self;
        let mut file = records.end().map_err(failed("write", unfinished))?;
        file.flush().map_err(failed("write", unfinished))?;
        file.get_ref().sync_all().map_err(failed("sync", unfinished))?;
        std::fs::rename(unfinished, &path).map_err(failed("name", &path))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("sync", directory))
    }
}

/// Reads a file from its beginning to its end, and checks all of it on the way.
#[derive(Debug)]
pub(super) struct BackupReader {
    path: PathBuf,
    records: RecordReader<BufReader<File>>,
}

impl BackupReader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it can't be read, or is not a backup that this program reads.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(failed("open", path))?;
        let file = BufReader::with_capacity(1 << 20, file);
        let opened = RecordReader::open(file, FORMAT, |fields| (holding(fields), ()));
        let (records, ()) = opened.map_err(unsound(path))?;
        Ok(Self { path: path.to_owned(), records })
    }

    /// Whose log it is.
    pub(super) fn holding(&self) -> Holding {
        self.records.holding()
    }

    /// How many records were read.
    pub(super) fn count(&self) -> u64 {
        self.records.count()
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> u64 {
        self.records.offset()
    }

    /// The next record; none at the end, once all of the file was found to be sound.
    ///
    /// # Errors
    /// When it is damaged or cut short, or the disk fails.
    pub(super) fn next_record(&mut self) -> Result<Option<Bytes>, BackupError> {
        self.records.next_record().map_err(unsound(&self.path))
    }
}

fn holding(fields: [u8; FIELD_BYTES]) -> Holding {
    let partition = u32::from_le_bytes(std::array::from_fn(|index| fields[index]));
    let first = u64::from_le_bytes(std::array::from_fn(|index| fields[4 + index]));
    Holding { partition: PartitionId(partition), first: TransactionId(first) }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use waltz_client::{ClientId, LockId, Mark, ReqId};
    use waltz_core::id::Generation;
    use waltz_core::limits::Limits;
    use waltz_core::record::{NewRecord, RecordView, append_with_id};

    use super::*;

    const HEAD: Holding = Holding { partition: PartitionId(3), first: TransactionId(10) };

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

    fn read(path: &Path) -> Result<(Holding, Vec<Bytes>), BackupError> {
        let mut reader = BackupReader::open(path)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok((reader.holding(), records))
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
        assert!(matches!(read(&path), Err(BackupError::Unsound { .. })));
        assert!(matches!(read(&directory.path().join("b")), Err(BackupError::Io { .. })));
    }
}
