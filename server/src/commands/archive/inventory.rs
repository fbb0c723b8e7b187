//! What an archive holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use waltz_archive::{Archive, ArchiveError, LogName, Piece};

/// All pieces of an archive, log by log.
#[derive(Debug)]
pub(super) struct Inventory {
    logs: BTreeMap<LogName, BTreeMap<Piece, u64>>,
    /// Those that are not sound, once all were read.
    unsound: Option<BTreeSet<(LogName, Piece)>>,
}

/// One log of an archive.
#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    pub(super) partition: u32,
    pub(super) creation: String,
    /// The first id.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
    pub(super) objects: usize,
    pub(super) bytes: u64,
    /// How many of the objects are not sound, if they were read.
    pub(super) unsound: Option<usize>,
    /// The ids between first and last that no object has, or no sound one if they were read.
    pub(super) missing: Vec<(u64, u64)>,
}

impl Inventory {
    /// Lists an archive.
    pub(super) async fn take(archive: &Archive) -> Result<Self, ArchiveError> {
        Ok(Self { logs: archive.logs().await?, unsound: None })
    }

    /// How many objects there are.
    pub(super) fn pieces(&self) -> u64 {
        self.logs.values().map(|pieces| pieces.len() as u64).sum()
    }

    /// Reads everything, one piece after another; what is wrong with pieces.
    ///
    /// # Errors
    /// When the store can't be asked: that says nothing of its pieces.
    pub(super) async fn verify(
        &mut self,
        archive: &Archive,
        checked: impl Fn(),
    ) -> Result<Vec<ArchiveError>, ArchiveError> {
        let (mut errors, mut unsound) = (Vec::new(), BTreeSet::new());
        for (log, pieces) in &self.logs {
            for piece in pieces.keys() {
                match archive.read(*log, *piece).await {
                    Ok(_) => {}
                    Err(error) if error.is_of_object() => {
                        unsound.insert((*log, *piece));
                        errors.push(error);
                    }
                    Err(error) => return Err(error),
                }
                checked();
            }
        }
        self.unsound = Some(unsound);
        Ok(errors)
    }

    /// The logs, for people and programs.
    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.logs.iter().filter_map(|(log, pieces)| self.line(*log, pieces)).collect()
    }

    fn line(&self, log: LogName, pieces: &BTreeMap<Piece, u64>) -> Option<LogLine> {
        let is_unsound = |piece: &Piece| {
            self.unsound.as_ref().is_some_and(|unsound| unsound.contains(&(log, *piece)))
        };
        let (first, last) = (pieces.keys().next()?.first.0, pieces.keys().map(|p| p.last.0).max()?);
        let sound = pieces.keys().filter(|piece| !is_unsound(piece));
        Some(LogLine {
            partition: log.partition.0,
            creation: log.creation.to_string(),
            first,
            last,
            objects: pieces.len(),
            bytes: pieces.values().sum(),
            unsound: self
                .unsound
                .is_some()
                .then(|| pieces.keys().filter(|p| is_unsound(p)).count()),
            missing: missing(first, last, sound.map(|piece| (piece.first.0, piece.last.0))),
        })
    }
}

/// What of `first` to `last` is in none of the ranges, which ascend by their beginnings.
fn missing(first: u64, last: u64, ranges: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let (mut next, mut missing) = (first, Vec::new());
    for (begin, end) in ranges {
        if begin > next {
            missing.push((next, begin - 1));
        }
        next = next.max(end + 1);
    }
    if next <= last {
        missing.push((next, last));
    }
    missing
}

#[cfg(test)]
mod tests {
    use waltz_s3_server::S3Server;

    use super::*;

    #[test]
    fn what_no_object_has_is_told() {
        let of = |ranges: &[(u64, u64)]| missing(5, 20, ranges.iter().copied());
        assert_eq!(of(&[(5, 20)]), []);
        assert_eq!(of(&[(5, 9), (7, 12), (8, 8), (13, 20)]), []);
        assert_eq!(of(&[(5, 9), (12, 18)]), [(10, 11), (19, 20)]);
        assert_eq!(of(&[]), [(5, 20)]);
    }

    #[tokio::test]
    async fn a_store_that_goes_away_makes_no_object_unsound() {
        let mut server = S3Server::start().unwrap();
        let folder = server.directory("backups").join("partition-3/creation-00000000000000c5");
        std::fs::create_dir_all(&folder).unwrap();
        for (first, last) in [(0, 9), (10, 19)] {
            std::fs::write(folder.join(format!("{first:020}-{last:020}.waltz")), "no piece")
                .unwrap();
        }
        let archive = Archive::open_with("s3://backups", server.variables()).unwrap();
        let mut inventory = Inventory::take(&archive).await.unwrap();
        server.stop();
        let error = inventory.verify(&archive, || {}).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Unreachable { .. }), "{error:?}");
        assert_eq!(inventory.lines()[0].unsound, None);
        server.restart().unwrap();
        let errors = inventory.verify(&archive, || {}).await.unwrap();
        assert!(errors.iter().all(|error| matches!(error, ArchiveError::Damaged { .. })));
        assert_eq!((errors.len(), inventory.lines()[0].unsound), (2, Some(2)));
    }
}
