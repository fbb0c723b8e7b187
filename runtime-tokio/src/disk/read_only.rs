//! A directory that is looked at, and stays as it is.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use bytes::Bytes;
use waltz_runtime::disk::ReadDisk;

use super::{DiskError, LOCK, list_files, read_exactly};

/// The files of a directory that no process writes to while this one looks at it.
#[derive(Debug)]
pub struct ReadOnlyDisk {
    path: PathBuf,
    /// Shared with others who look, while it is open; a copy of a directory may have none.
    _lock: Option<File>,
}

impl ReadOnlyDisk {
    /// Opens a directory that is there.
    ///
    /// # Errors
    /// When a process writes to it, or the operating system refuses.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        let failed = |action| {
            let directory = path.clone();
            move |source| DiskError::Io { directory, action, source }
        };
        // Says that there is no such directory before it is asked for a lock.
        std::fs::read_dir(&path).map_err(failed("opening it"))?;
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(failed("opening its lock file")(source)),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock_shared) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DiskError::Locked(path)),
            Err(TryLockError::Error(source)) => Err(failed("locking it")(source)),
        }
    }
}

impl ReadDisk for ReadOnlyDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        list_files(&self.path)
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        let file = File::open(self.path.join(name))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        read_exactly(Vec::new(), file, offset, length)
    }

    fn read_over(
        &mut self,
        memory: Vec<u8>,
        file: &File,
        offset: u64,
        length: usize,
    ) -> io::Result<Bytes> {
        read_exactly(memory, file, offset, length)
    }
}
