//! What is trimmed is in the archive before, if there is one.

use std::time::Duration;

use madsim::time::timeout;
use waltz_archive::{LogName, Piece, PieceStore, PieceWriter};
use waltz_client::{FeedOptions, Mark, PartitionId};
use waltz_core::id::TransactionId;

use super::Operator;
use crate::archive::Archive;

/// A piece has so many records, so that readers have to go from one to the next.
const PIECE_RECORDS: u64 = 8;

/// After so long the operator gives up: nothing is trimmed then.
const PATIENCE: Duration = Duration::from_secs(10);

impl Operator {
    /// Has everything up to a mark in the archive, verified there. Whether it is.
    pub(super) async fn archive(
        &self,
        archive: &Archive,
        partition: PartitionId,
        to: Mark,
    ) -> bool {
        let archived = timeout(PATIENCE, self.upload(archive, partition, to)).await;
        let reason = match archived {
            Ok(Ok(())) => return true,
            Ok(Err(reason)) => reason,
            Err(_) => "it takes too long".to_owned(),
        };
        self.note(partition, format_args!("an archive up to {to}, and has none: {reason}"));
        false
    }

    async fn upload(
        &self,
        archive: &Archive,
        partition: PartitionId,
        to: Mark,
    ) -> Result<(), String> {
        let client = self.lock().client.clone().ok_or("there is no client yet")?;
        let creation = self.history.creation(partition).ok_or("there is no log yet")?;
        let log = LogName { partition, creation };
        let next = end(archive.pieces(log).await?);
        let options = FeedOptions::new().until_now();
        let mut feed = client.feed_with(partition, Mark::before(next), options);
        let mut writer = PieceWriter::new(log, next);
        let mut first = next;
        while to.includes(writer.next()) {
            let next = feed.next().await.ok_or("the log ends")?;
            let next = next.map_err(|error| error.to_string())?;
            writer.push(&next.record().await.map_err(|error| error.to_string())?);
            let following = writer.next();
            if following.0 - first.0 == PIECE_RECORDS || !to.includes(following) {
                let full = std::mem::replace(&mut writer, PieceWriter::new(log, following));
                archive.write(log, full).await?;
                first = following;
            }
        }
        Ok(())
    }
}

/// The first record that is in none of the pieces that come one after another from the first one on.
fn end(mut pieces: Vec<Piece>) -> TransactionId {
    pieces.sort_unstable();
    pieces.iter().fold(TransactionId::FIRST, |next, piece| match piece.first <= next {
        true => next.max(TransactionId(piece.last.0 + 1)),
        false => next,
    })
}
