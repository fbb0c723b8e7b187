//! The file interface under a journal: small enough that a simulated disk is an honest stand-in.

use std::io;

use bytes::Bytes;

/// The files of one journal's directory, to be read. Blocking.
pub trait ReadDisk: Send + 'static {
    /// An open file.
    type File: Send;

    /// The names of all files, in no particular order.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// Opens an existing file and tells its length in bytes.
    fn open(&mut self, name: &str) -> io::Result<(Self::File, u64)>;
    /// Reads exactly `length` bytes.
    fn read_at(&mut self, file: &Self::File, offset: u64, length: usize) -> io::Result<Bytes>;
    /// Reads exactly `length` bytes, into memory that held something else before if the disk can: of
    /// megabytes, getting new memory takes longer than reading.
    fn read_over(
        &mut self,
        memory: Vec<u8>,
        file: &Self::File,
        offset: u64,
        length: usize,
    ) -> io::Result<Bytes> {
        drop(memory);
        self.read_at(file, offset, length)
    }
}

/// The files of one journal's directory. Blocking; only the journal's own thread calls it.
pub trait Disk: ReadDisk {
    /// Creates a file of `length` zero bytes under this name, durable (directory entry included)
    /// when it returns. An existing file of that name is replaced.
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<Self::File>;
    /// Renames a file, durably.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, durably.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Writes all slices one after another from `offset` on. Not durable before `sync`.
    fn write_at(&mut self, file: &Self::File, offset: u64, slices: &[Bytes]) -> io::Result<()>;
    /// Makes every write to this file durable.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
}
