//! What a client was told to be committed, in a file that a kill leaves as it is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use waltz_client::{PartitionId, TransactionId};

const ENTRY_BYTES: usize = 20;

/// A commit that a client was told of: where, and which submission it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) partition: PartitionId,
    pub(super) id: TransactionId,
    pub(super) submission: u64,
}

/// Writes them down. What was not written when the client was killed is forgotten.
#[derive(Debug)]
pub(super) struct Diary(BufWriter<File>);

impl Diary {
    /// One for this life of a client.
    ///
    /// # Errors
    /// When the file can't be made.
    pub(super) fn create(directory: &Path, client: u32, life: u32) -> io::Result<Self> {
        Ok(Self(BufWriter::new(File::create(directory.join(name(client, life)))?)))
    }

    /// Writes one down.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn write(&mut self, told: Told) -> io::Result<()> {
        let mut entry = [0; ENTRY_BYTES];
        entry[..4].copy_from_slice(&told.partition.0.to_le_bytes());
        entry[4..12].copy_from_slice(&told.id.0.to_le_bytes());
        entry[12..].copy_from_slice(&told.submission.to_le_bytes());
        self.0.write_all(&entry)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What all lives of all clients wrote down. The last entry of one that was killed may be cut short.
///
/// # Errors
/// When a file can't be read.
pub(super) fn read_all(directory: &Path) -> io::Result<Vec<Told>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if is_diary(&path) {
            let bytes = std::fs::read(path)?;
            all.extend(bytes.chunks_exact(ENTRY_BYTES).map(entry_of));
        }
    }
    Ok(all)
}

fn name(client: u32, life: u32) -> String {
    format!("told-{client}-{life}")
}

fn is_diary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("told-"))
}

fn entry_of(entry: &[u8]) -> Told {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    Told {
        partition: PartitionId(u32::from_le_bytes(entry[..4].try_into().expect("four bytes"))),
        id: TransactionId(number(&entry[4..12])),
        submission: number(&entry[12..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_up_to_where_it_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let told =
            |id| Told { partition: PartitionId(3), id: TransactionId(id), submission: id << 40 };
        let mut diary = Diary::create(directory.path(), 1, 2).unwrap();
        for id in 0..3 {
            diary.write(told(id)).unwrap();
        }
        diary.flush().unwrap();
        assert_eq!(read_all(directory.path()).unwrap(), [told(0), told(1), told(2)]);
        let file = File::options().write(true).open(directory.path().join(name(1, 2))).unwrap();
        file.set_len(ENTRY_BYTES as u64 * 2 + 7).unwrap();
        assert_eq!(read_all(directory.path()).unwrap(), [told(0), told(1)]);
    }
}
