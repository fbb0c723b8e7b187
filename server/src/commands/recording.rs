//! Where `waltz serve` puts the recordings of its flight recorder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use waltz_core::id::NodeId;
use waltz_core::recorder::Recorder;
use waltz_runtime::recorder::{FlightRecorder, Occasion};

/// How many recordings of a node a directory keeps, so that one that panics, is started again and
/// panics again does not fill the disk.
const KEPT: usize = 16;
const EXTENSION: &str = "recording";
/// What a file is called until all of it is durable.
const UNFINISHED: &str = "unfinished";

/// A flight recorder that is written out on SIGUSR1, when the node has to stop, and when it panics.
///
/// # Errors
/// When signals can't be heard.
pub(super) fn flight_recorder(
    recorder: Recorder,
    mut recordings: Recordings,
) -> anyhow::Result<FlightRecorder> {
    let mut asked = signal(SignalKind::user_defined1()).context("could not listen for signals")?;
    let save = move |occasion, recording| recordings.save(occasion, recording);
    let asked = move |cx: &mut std::task::Context<'_>| match asked.poll_recv(cx) {
        Poll::Ready(Some(())) => Poll::Ready(()),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    };
    Ok(FlightRecorder::new(recorder, Box::new(save), Box::new(asked)))
}

/// Answers SIGUSR1 at a node without a flight recorder, which would end by it otherwise.
///
/// # Errors
/// When signals can't be heard.
pub(super) fn refuse_requests() -> anyhow::Result<()> {
    let mut asked = signal(SignalKind::user_defined1()).context("could not listen for signals")?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            tracing::warn!("there is no recording: the node runs without --flight-recorder");
        }
    });
    Ok(())
}

/// Where recordings go. What was asked for is written by a thread, as the node goes on meanwhile.
pub(super) struct Recordings {
    directory: Arc<Directory>,
    thread: Option<JoinHandle<()>>,
}

impl Recordings {
    /// Those of this node, in this directory, which is made if need be.
    ///
    /// # Errors
    /// When it can't be used.
    pub(super) fn open(path: &Path, node: NodeId) -> anyhow::Result<Self> {
        let directory = Directory { path: path.to_owned(), prefix: format!("node-{}-", node.0) };
        // What is unfinished is of a process that was killed while it wrote.
        fs::create_dir_all(path)
            .and_then(|()| directory.keep_newest(0, UNFINISHED))
            .with_context(|| format!("could not use the directory {}", path.display()))?;
        Ok(Self { directory: Arc::new(directory), thread: None })
    }

    fn save(&mut self, occasion: Occasion, recording: Vec<u8>) {
        let why = match occasion {
            Occasion::Stopped => "because the node has to stop",
            Occasion::Panicked => "because the node panicked",
            Occasion::Asked => return self.save_meanwhile(recording),
        };
        self.directory.save(why, &recording);
    }

    fn save_meanwhile(&mut self, recording: Vec<u8>) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return tracing::warn!("the last recording is still being written: ask again later");
        }
        let directory = self.directory.clone();
        let work = move || directory.save("as asked", &recording);
        match thread::Builder::new().name("recording".to_owned()).spawn(work) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::error!("could not write a recording: {error}"),
        }
    }
}

/// A recording that was asked for is finished before the process ends.
impl Drop for Recordings {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a recording was not written");
        }
    }
}

/// The directory, and how the names of this node's recordings begin.
struct Directory {
    path: PathBuf,
    prefix: String,
}

impl Directory {
    fn save(&self, why: &str, recording: &[u8]) {
        let path = self.next_path();
        if let Err(error) = self.write_whole(&path, recording) {
            return tracing::error!("could not write {}: {error}", path.display());
        }
        let bytes = recording.len();
        tracing::info!(bytes, "wrote {} {why}; run `waltz replay` on it", path.display());
        if let Err(error) = self.keep_newest(KEPT, EXTENSION) {
            tracing::warn!("could not clear {}: {error}", self.path.display());
        }
    }

    /// Named by the wall clock, so that recordings sort by age.
    fn next_path(&self) -> PathBuf {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.path.join(format!("{}{:020}.{EXTENSION}", self.prefix, since.as_nanos()))
    }

    /// Under its name the file is there whole or not at all. It holds what clients sent: nobody
    /// but the node's user may read it.
    fn write_whole(&self, path: &Path, recording: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(UNFINISHED);
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(recording).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&unfinished, path)) {
            // What can't be removed now is in nobody's way.
            let _ = fs::remove_file(unfinished);
            return Err(error);
        }
        File::open(&self.path)?.sync_all()
    }

    /// Removes all but so many of this node's files of a kind.
    fn keep_newest(&self, kept: usize, extension: &str) -> io::Result<()> {
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let is_ours = name.to_string_lossy().starts_with(&self.prefix);
            if is_ours && Path::new(&name).extension().is_some_and(|found| found == extension) {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names.iter().take(names.len().saturating_sub(kept)) {
            fs::remove_file(self.path.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_asked_for_is_there_whole_when_the_node_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("node-7-1.unfinished"), "by").unwrap();
        let mut recordings = Recordings::open(directory.path(), NodeId(7)).unwrap();
        recordings.save(Occasion::Asked, b"bytes".to_vec());
        drop(recordings);
        let names = names(directory.path());
        let [name] = &names[..] else { panic!("{names:?}") };
        assert!(name.starts_with("node-7-") && name.ends_with(".recording"), "{name}");
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"bytes");
    }

    #[test]
    fn the_newest_recordings_of_each_node_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let others = ["node-7-notes.txt", "node-71-00000000000000000001.recording"];
        for other in others {
            fs::write(directory.path().join(other), "another's").unwrap();
        }
        let mut recordings = Recordings::open(directory.path(), NodeId(7)).unwrap();
        for number in 0..KEPT as u8 + 3 {
            recordings.save(Occasion::Stopped, vec![number]);
        }
        let names = names(directory.path());
        assert_eq!(names.len(), KEPT + others.len());
        assert!(others.iter().all(|other| names.iter().any(|name| name == other)), "{names:?}");
        let ours = names.iter().filter(|name| !others.contains(&name.as_str()));
        let kept: Vec<_> = ours.flat_map(|name| fs::read(directory.path().join(name))).collect();
        let expected: Vec<_> = (3..KEPT as u8 + 3).map(|number| vec![number]).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let directory = Directory { path: gone.clone(), prefix: "node-1-".into() };
        assert!(directory.write_whole(&gone.join("a.recording"), b"bytes").is_err());
        directory.save("as asked", b"bytes");
        assert!(!gone.exists());
    }
}
