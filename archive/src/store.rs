//! An archive: pieces below one folder of an object store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::{Path, PathPart};
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreExt, RetryConfig};
use url::Url;

use crate::error::ArchiveError;
use crate::piece::{LogName, Piece, SoundPiece};
use crate::reader::PieceStore;

/// A store that does not answer is asked again by the runtime's client for so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// And so often.
const RETRIES: usize = 4;

/// An archive, open. Clones share it.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// The folder of it.
    folder: Path,
    /// Where that is, for people.
    url: String,
    /// A local one's directory.
    directory: Option<PathBuf>,
}

impl Archive {
    /// Names an archive: by a directory or a `file://` address of one, or by `s3://BUCKET/FOLDER`,
    /// whose settings come from the variables `AWS_*`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When it names none, or settings of it are missing or wrong.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        let text = |name: OsString, value: OsString| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::open_with(url, std::env::vars_os().filter_map(|(name, value)| text(name, value)))
    }

    /// The same, with these variables instead of the environment's.
    ///
    /// # Errors
    /// When it names none, or settings of it are missing or wrong.
    pub fn open_with(
        url: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ArchiveError> {
        let wrong = |reason: String| ArchiveError::Url { url: url.to_owned(), reason };
        if url.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        if !url.contains("://") {
            let directory = std::path::absolute(url).map_err(|error| wrong(error.to_string()))?;
            return Self::local(directory).map_err(wrong);
        }
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        match parsed.scheme() {
            "file" => {
                let directory = parsed.to_file_path();
                let directory = directory.map_err(|()| wrong("it is no path".to_owned()))?;
                Self::local(directory).map_err(wrong)
            }
            "s3" => Self::s3(&parsed, variables).map_err(wrong),
            other => Err(wrong(format!("archives of {other:?} are not known"))),
        }
    }

    fn local(directory: PathBuf) -> Result<Self, String> {
        let folder = Path::from_absolute_path(&directory).map_err(|error| error.to_string())?;
        // What was uploaded may be trimmed: it has to be on the disk.
        let store = Arc::new(LocalFileSystem::new().with_fsync(true));
        let url = directory.display().to_string();
        Ok(Self { store, folder, url, directory: Some(directory) })
    }

    fn s3(
        url: &Url,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        if url.host_str().is_none_or(str::is_empty) {
            return Err("it names no bucket".to_owned());
        }
        // One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry =
            RetryConfig { max_retries: RETRIES, retry_timeout: PATIENCE, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new().with_retry(retry);
        for (name, value) in variables {
            if name.starts_with("AWS_")
                && let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            {
                builder = builder.with_config(key, value);
            }
        }
        require_tls(&builder)?;
        let store = builder.with_url(url.as_str()).build().map_err(|error| error.to_string())?;
        let folder = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        Ok(Self { store: Arc::new(store), folder, url: url.to_string(), directory: None })
    }

    /// Where it is, for people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All logs with pieces in it, and those pieces with their lengths in bytes.
    ///
    /// # Errors
    /// When the store can't tell.
    pub async fn logs(&self) -> Result<BTreeMap<LogName, BTreeMap<Piece, u64>>, ArchiveError> {
        self.list(&self.folder).await
    }

    /// One log's pieces, with their lengths in bytes. They may overlap.
    ///
    /// # Errors
    /// When the store can't tell.
    pub async fn pieces(&self, log: LogName) -> Result<BTreeMap<Piece, u64>, ArchiveError> {
        let mut logs = self.list(&self.of_log(log)).await?;
        Ok(logs.remove(&log).unwrap_or_default())
    }

    async fn list(
        &self,
        folder: &Path,
    ) -> Result<BTreeMap<LogName, BTreeMap<Piece, u64>>, ArchiveError> {
        self.require_directory()?;
        let mut logs = BTreeMap::<_, BTreeMap<_, _>>::new();
        let mut objects = self.store.list(Some(folder));
        while let Some(object) =
            objects.try_next().await.map_err(|source| self.failed("list", folder, source))?
        {
            if let Some((log, piece)) = self.named(&object.location) {
                logs.entry(log).or_default().insert(piece, object.size);
            }
        }
        Ok(logs)
    }

    /// The piece that an object is by its name, if it is one.
    fn named(&self, object: &Path) -> Option<(LogName, Piece)> {
        let parts: Vec<PathPart<'_>> = object.prefix_match(&self.folder)?.collect();
        let [partition, creation, file] = &parts[..] else {
            return None;
        };
        let log = LogName::parse(partition.as_ref(), creation.as_ref())?;
        Some((log, Piece::parse(file.as_ref())?))
    }

    /// Reads a piece, and verifies all of it.
    ///
    /// # Errors
    /// When it can't be read or is not sound.
    pub async fn read(&self, log: LogName, piece: Piece) -> Result<SoundPiece, ArchiveError> {
        let object = self.object(log, piece);
        let failed = |source| self.failed("read", &object, source);
        let bytes = self.store.get(&object).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let sound = SoundPiece::verify(log, piece, bytes);
        sound.map_err(|source| ArchiveError::Damaged { object: self.shown(&object), source })
    }

    /// Writes a piece, then reads it back and verifies it.
    ///
    /// # Errors
    /// When it can't be written or read, or is not sound then.
    pub async fn write(
        &self,
        log: LogName,
        piece: Piece,
        bytes: Bytes,
    ) -> Result<SoundPiece, ArchiveError> {
        self.require_directory()?;
        let object = self.object(log, piece);
        let written = self.store.put(&object, bytes.into()).await;
        written.map_err(|source| self.failed("write", &object, source))?;
        self.read(log, piece).await
    }

    /// Where a piece is, for people.
    pub fn place(&self, log: LogName, piece: Piece) -> String {
        self.shown(&self.object(log, piece))
    }

    fn of_log(&self, log: LogName) -> Path {
        let [partition, creation] = log.folders();
        self.folder.clone().join(partition).join(creation)
    }

    fn object(&self, log: LogName, piece: Piece) -> Path {
        self.of_log(log).join(piece.file_name())
    }

    /// A store without folders lists nothing where a directory is missing; that is not the same.
    fn require_directory(&self) -> Result<(), ArchiveError> {
        match &self.directory {
            Some(directory) if !directory.is_dir() => Err(ArchiveError::Absent(directory.clone())),
            _ => Ok(()),
        }
    }

    fn shown(&self, object: &Path) -> String {
        let below: Vec<_> = object.prefix_match(&self.folder).into_iter().flatten().collect();
        let below = below.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/");
        [self.url.trim_end_matches('/'), &below].join("/")
    }

    fn failed(
        &self,
        action: &'static str,
        object: &Path,
        source: object_store::Error,
    ) -> ArchiveError {
        ArchiveError::of_store(self.directory.is_some(), action, self.shown(object), source)
    }
}

/// What travels without TLS can be read and changed on the way: that has to be wanted.
fn require_tls(builder: &AmazonS3Builder) -> Result<(), String> {
    let setting = |key| builder.get_config_value(&key);
    let allowed = setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    let allowed = allowed.unwrap_or_default().to_ascii_lowercase();
    let is_allowed = ["1", "true", "on", "yes", "y"].contains(&allowed.as_str());
    let endpoint = setting(AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| setting(AmazonS3ConfigKey::Endpoint))
        .filter(|endpoint| endpoint.to_ascii_lowercase().starts_with("http://"));
    match endpoint {
        Some(endpoint) if !is_allowed => Err(format!(
            "its endpoint {endpoint} has no TLS, which only AWS_ALLOW_HTTP=true allows"
        )),
        _ => Ok(()),
    }
}

impl PieceStore for Archive {
    type Error = ArchiveError;

    async fn pieces(&self, log: LogName) -> Result<Vec<Piece>, ArchiveError> {
        Ok(Self::pieces(self, log).await?.into_keys().collect())
    }

    async fn read(&self, log: LogName, piece: Piece) -> Result<SoundPiece, ArchiveError> {
        Self::read(self, log, piece).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LOG, piece};

    #[tokio::test]
    async fn what_is_written_is_listed_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path().to_str().unwrap()).unwrap();
        assert!(archive.pieces(LOG).await.unwrap().is_empty());
        for ids in [0..10, 10..14, 8..12] {
            let (name, bytes) = piece(ids);
            let sound = archive.write(LOG, name, bytes.clone()).await.unwrap();
            assert_eq!((sound.piece(), sound.bytes()), (name, bytes.len()));
        }
        std::fs::write(directory.path().join("notes.txt"), "of somebody else").unwrap();
        let logs = archive.logs().await.unwrap();
        assert_eq!(logs.keys().collect::<Vec<_>>(), [&LOG]);
        let pieces: Vec<_> = logs[&LOG].keys().map(|piece| (piece.first.0, piece.last.0)).collect();
        assert_eq!(pieces, [(0, 9), (8, 11), (10, 13)]);
        let again = Archive::open(Url::from_file_path(directory.path()).unwrap().as_ref());
        assert_eq!(again.unwrap().pieces(LOG).await.unwrap(), logs[&LOG]);
    }

    #[tokio::test]
    async fn a_changed_object_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path().to_str().unwrap()).unwrap();
        let (name, bytes) = piece(0..3);
        archive.write(LOG, name, bytes).await.unwrap();
        let place = archive.place(LOG, name);
        std::fs::write(&place, b"WALTZARC and something else").unwrap();
        let error = archive.read(LOG, name).await.unwrap_err().to_string();
        assert!(error.contains(&place) && error.contains("version"), "{error}");
        std::fs::remove_file(&place).unwrap();
        let error = archive.read(LOG, name).await.unwrap_err().to_string();
        assert!(error.contains(&place), "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_no_empty_archive() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        let archive = Archive::open(absent.to_str().unwrap()).unwrap();
        assert!(
            matches!(archive.pieces(LOG).await, Err(ArchiveError::Absent(path)) if path == absent)
        );
        let (name, bytes) = piece(0..3);
        assert!(matches!(archive.write(LOG, name, bytes).await, Err(ArchiveError::Absent(_))));
    }

    #[test]
    fn what_names_no_archive_is_refused() {
        for url in ["", "ftp://host/folder", "s3://", "file://host/folder", "http://["] {
            let error = Archive::open(url).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{url:?}")) && error.contains("s3://BUCKET"),
                "{error}"
            );
        }
    }
}
