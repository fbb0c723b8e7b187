//! The files of a directory, in memory: what is written is there at once.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use waltz_runtime::disk::{Disk, ReadDisk};

/// What each file holds.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

type File = Arc<Mutex<Vec<u8>>>;

/// A directory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<String, File>>>);

impl Files {
    /// A directory with these files.
    pub(crate) fn new(contents: &Contents) -> Self {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            (name.clone(), Arc::new(Mutex::new(bytes.clone())))
        };
        Self(Arc::new(Mutex::new(contents.iter().map(file).collect())))
    }

    /// What is in it now.
    pub(crate) fn contents(&self) -> Contents {
        let contents = |(name, file): (&String, &File)| (name.clone(), bytes(file).clone());
        self.all().iter().map(contents).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.0.lock().expect("no test panics while it holds the directory")
    }
}

/// Reads a directory of the file system.
pub(crate) fn read_directory(path: &Path) -> io::Result<Contents> {
    let files = std::fs::read_dir(path)?.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?))
    });
    files.collect()
}

fn bytes(file: &File) -> MutexGuard<'_, Vec<u8>> {
    file.lock().expect("no test panics while it holds a file")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl ReadDisk for Files {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.all().keys().cloned().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        let file = self.all().get(name).cloned().ok_or_else(not_found)?;
        let length = bytes(&file).len() as u64;
        Ok((file, length))
    }

    fn read_at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
        let bytes = bytes(file);
        let range = bytes.get(offset as usize..).and_then(|rest| rest.get(..length));
        range.map(Bytes::copy_from_slice).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Disk for Files {
    fn create_zeroed(&mut self, name: &str, length: u64) -> io::Result<File> {
        let file = Arc::new(Mutex::new(vec![0; length as usize]));
        self.all().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.all();
        let file = files.remove(from).ok_or_else(not_found)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.all().remove(name).map(drop).ok_or_else(not_found)
    }

    fn write_at(&mut self, file: &File, offset: u64, slices: &[Bytes]) -> io::Result<()> {
        let written = slices.concat();
        let mut bytes = bytes(file);
        let room = bytes.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..written.len()));
        room.expect("nothing is written beyond a file's end").copy_from_slice(&written);
        Ok(())
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }
}
