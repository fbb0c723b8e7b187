//! The files of one directory, on a real file system.
//!
//! A directory belongs to one process at a time: a lock on its file `lock` says so, and the
//! operating system releases it however the process ends.

mod read_only;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use thiserror::Error;
use waltz_runtime::disk::{Disk, ReadDisk};

pub use read_only::ReadOnlyDisk;

const LOCK: &str = "lock";
/// What a file is called until all of its zeros are durable.
const UNFINISHED: &str = ".unfinished";
/// The page cache holds a file in pieces as large as it was written in, and each later write and
/// sync of a few KiB walks all blocks of the piece that they are in. So not too many at a time.
const ZEROS_PER_WRITE: usize = 64 << 10;
const ZEROS_PER_SYNC: u64 = 1 << 20;
/// The most slices the operating system takes in one write (`IOV_MAX`).
const SLICES_PER_WRITE: usize = 1024;

/// Why a directory can't be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("directory {} is in use by another process: stop that one or choose another directory", .0.display())]
    Locked(PathBuf),
    /// The operating system refuses.
    #[error("directory {}: {action} failed: {source}", .directory.display())]
    Io {
        /// Which directory.
        directory: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// The files of a directory. Clones share the lock, which lasts as long as any of them; each may
/// be used by a thread of its own.
#[derive(Debug, Clone)]
pub struct FileDisk {
    directory: Arc<Directory>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Open, to make its entries durable.
    handle: File,
    /// Holds the lock while it is open.
    _lock: File,
}

impl FileDisk {
    /// Opens a directory for this process alone, and creates it if need be.
    ///
    /// # Errors
    /// When another process has it, or the operating system refuses.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        let failed = |action| {
            let directory = path.clone();
            move |source| DiskError::Io { directory, action, source }
        };
        create_durably(&path).map_err(failed("creating it"))?;
        let handle = File::open(&path).map_err(failed("opening it"))?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(failed("opening its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::Locked(path)),
            Err(TryLockError::Error(source)) => return Err(failed("locking it")(source)),
        }
        let directory = Directory { path: path.clone(), handle, _lock: lock };
        remove_unfinished(&directory).map_err(failed("removing unfinished files"))?;
        Ok(Self { directory: Arc::new(directory) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    fn file(&self, name: &str) -> PathBuf {
        assert!(!name.contains('/'), "{name:?} names a file of this directory");
        self.directory.path.join(name)
    }
}

impl ReadDisk for FileDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        list_files(&self.directory.path)
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        let file = File::options().read(true).write(true).open(self.file(name))?;
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

impl Disk for FileDisk {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        let unfinished = self.file(&format!("{name}{UNFINISHED}"));
        let outcome = write_zeros(&unfinished, length)
            .and_then(|file| fs::rename(&unfinished, self.file(name)).map(|()| file));
        match outcome {
            Ok(file) => self.directory.handle.sync_all().map(|()| file),
            Err(error) => {
                // A full disk gets its space back at once; the next start would see to it too.
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))?;
        self.directory.handle.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        self.directory.handle.sync_all()
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        let mut at = offset;
        for slices in slices.chunks(SLICES_PER_WRITE) {
            at = write_slices(file, at, slices)?;
        }
        Ok(())
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// The names of the files that are a journal's business.
fn list_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What no journal can have written is not a journal's business.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name != LOCK && !name.ends_with(UNFINISHED) && entry.file_type()?.is_file() {
            names.push(name);
        }
    }
    Ok(names)
}

fn read_exactly(memory: Vec<u8>, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = memory;
    bytes.clear();
    bytes.reserve_exact(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than asked for.
    bytes.truncate(length);
    Ok(bytes.into())
}

/// Writes all slices, and tells where the last one ends.
fn write_slices(file: &File, mut at: u64, slices: &[Bytes]) -> io::Result<u64> {
    let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    let mut left = slices.as_mut_slice();
    // Empty slices at the front would make a write of nothing look like a full disk.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match rustix::io::pwritev(file, left, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut left, written);
                at += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}

/// Real zeros, not only reserved space: a sync of a block that was never written has to write the
/// file system's own records too.
fn write_zeros(path: &Path, length: u64) -> io::Result<File> {
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    // A full disk is found out before it is filled to the brim. Not every file system can tell.
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
        Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) if length > 0 => {
            return Err(ErrorKind::StorageFull.into());
        }
        _ => {}
    }
    let zeros = vec![0; ZEROS_PER_WRITE];
    let mut at = 0;
    while at < length {
        let next = (length - at).min(ZEROS_PER_WRITE as u64);
        (&file).write_all(&zeros[..next as usize])?;
        at += next;
        // Bit by bit: the syncs of the journal in use would wait for one large one.
        if at.is_multiple_of(ZEROS_PER_SYNC) {
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// Creates a directory and those above it, each durable in the one above.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        outcome => outcome?,
    }
    File::open(parent)?.sync_all()
}

fn remove_unfinished(directory: &Directory) -> io::Result<()> {
    for entry in fs::read_dir(&directory.path)? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(directory.path.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, FileDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(directory.path().join("new/nested")).unwrap();
        (directory, disk)
    }

    #[test]
    fn what_was_written_at_an_offset_is_read_back() {
        let (_directory, mut disk) = disk();
        let file = disk.create_zeroed("a", 1 << 21).unwrap();
        let slices: Vec<Bytes> =
            (0..3000_u32).map(|n| Bytes::from(vec![n as u8; (n % 7) as usize])).collect();
        disk.write_at(&file, 4096, &slices).unwrap();
        disk.write_at(&file, 0, &[Bytes::new(), Bytes::new()]).unwrap();
        disk.sync(&file).unwrap();
        let expected: Vec<u8> = slices.concat();
        let (file, length) = disk.open("a").unwrap();
        assert_eq!(length, 1 << 21);
        assert_eq!(disk.read_at(&file, 4096, expected.len()).unwrap(), expected);
        assert_eq!(disk.read_at(&file, 0, 4096).unwrap(), vec![0; 4096]);
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let (_directory, mut disk) = disk();
        let file = disk.create_zeroed("a", 10).unwrap();
        assert_eq!(disk.read_at(&file, 5, 6).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn creating_replaces_and_renaming_and_removing_show_in_the_list() {
        let (_directory, mut disk) = disk();
        let file = disk.create_zeroed("a", 10).unwrap();
        disk.write_at(&file, 0, &[Bytes::from_static(b"old")]).unwrap();
        let file = disk.create_zeroed("a", 5).unwrap();
        assert_eq!(disk.read_at(&file, 0, 5).unwrap(), vec![0; 5]);
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        disk.remove("b").unwrap();
        assert!(disk.list().unwrap().is_empty());
        assert_eq!(disk.open("b").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_belongs_to_one_opening_until_its_last_clone_is_gone() {
        let (_directory, disk) = disk();
        let clone = disk.clone();
        let path = disk.path().to_owned();
        drop(disk);
        let error = FileDisk::open(&path).unwrap_err();
        assert!(matches!(&error, DiskError::Locked(locked) if *locked == path));
        assert!(error.to_string().contains(&path.display().to_string()));
        drop(clone);
        FileDisk::open(&path).unwrap();
    }

    #[test]
    fn a_file_whose_zeros_were_not_finished_is_gone_at_the_next_opening() {
        let (_directory, mut disk) = disk();
        let path = disk.path().to_owned();
        let leftover = path.join(format!("a{UNFINISHED}"));
        fs::write(&leftover, b"half").unwrap();
        assert!(disk.list().unwrap().is_empty());
        drop(disk);
        FileDisk::open(&path).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"").unwrap();
        let error = FileDisk::open(&path).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
