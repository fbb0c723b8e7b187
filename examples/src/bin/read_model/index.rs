//! A search index in memory, with a snapshot in a file.
//!
//! The index and the marks are changed together and written together, so a snapshot may be old but
//! never disagrees with itself: what is missing in it comes again from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use waltz_client::{CallbackError, ClientCallbacks, Mark, PartitionId, Transaction, TransactionId};

/// An article, named by where it is in the log: partition and id.
pub(crate) type Article = (u32, u64);

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// How many transactions of each partition are in the index.
    applied: BTreeMap<u32, u64>,
    /// The articles that have a word.
    articles: BTreeMap<String, BTreeSet<Article>>,
}

impl Contents {
    /// The articles that have a word.
    pub(crate) fn articles_with(&self, word: &str) -> usize {
        self.articles.get(word).map_or(0, BTreeSet::len)
    }

    /// What is in the index of each partition.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (PartitionId, Mark)> {
        self.applied.iter().map(|(partition, count)| {
            (PartitionId(*partition), Mark::before(TransactionId(*count)))
        })
    }

    /// How many articles are in the index.
    pub(crate) fn len(&self) -> u64 {
        self.applied.values().sum()
    }
}

/// The callbacks. Clones share the index.
#[derive(Debug, Clone)]
pub(crate) struct SearchIndex {
    path: PathBuf,
    contents: Arc<Mutex<Contents>>,
}

impl SearchIndex {
    /// Begins with the snapshot in this file; with nothing, if there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let contents = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), contents: Arc::new(Mutex::new(contents)) })
    }

    /// What is in the index now.
    pub(crate) fn contents(&self) -> Contents {
        self.lock().clone()
    }

    /// Writes a snapshot, in the place of the last one, and returns what is in it.
    pub(crate) fn save(&self) -> io::Result<Contents> {
        let contents = self.contents();
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        // Whatever happens, the file is the old snapshot or the new one.
        fs::rename(&fresh, &self.path)?;
        Ok(contents)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientCallbacks for SearchIndex {
    async fn high_water_mark(&self, partition: PartitionId) -> Result<Mark, CallbackError> {
        let applied = self.lock().applied.get(&partition.0).copied().unwrap_or(0);
        Ok(Mark::before(TransactionId(applied)))
    }

    async fn apply_transaction(&self, transaction: &Transaction) -> Result<(), CallbackError> {
        // Everything that can fail comes first: after it, index and mark change together.
        let bytes = transaction.bytes().await?;
        let text = std::str::from_utf8(&bytes)?;
        let (partition, id) = (transaction.partition().0, transaction.id().0);
        let mut contents = self.lock();
        for word in text.split_whitespace() {
            contents.articles.entry(word.to_owned()).or_default().insert((partition, id));
        }
        contents.applied.insert(partition, id + 1);
        Ok(())
    }
}
