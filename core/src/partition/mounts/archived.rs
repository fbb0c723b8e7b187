//! What was trimmed is read from the archive, if there is one: feeds and calls go on below the log's
//! start as if it were still there, as far back as the archive has it.

use super::reads::{Keeper, Purpose};
use super::{Mounts, Outputs, reply};
use crate::id::ClientId;
use crate::wire::{FetchRefusal, MountRefusal, ServerReply};

impl Mounts {
    /// Whether there is an archive.
    pub(super) fn has_archive(&self) -> bool {
        self.config.archive_reads > 0
    }

    /// What waits for the storage to read it waits for the archive where it was trimmed.
    pub(super) fn look_in_archive(&mut self) {
        let mounts = &self.mounts;
        self.reads.trimmed(self.start, |client| mounts.get(&client).map(|mount| mount.next));
    }

    /// The archive does not have what a read was to begin with: that was trimmed, and is gone.
    pub fn not_archived(&mut self, request: u64, out: &mut Outputs) {
        let start = self.start;
        match self.reads.end(request) {
            Some(Purpose::Feed(client)) => self.end_behind(client, request, out),
            Some(Purpose::Fetch(fetch)) => {
                let reason = FetchRefusal::Trimmed { start };
                out.push(reply(fetch.conn, ServerReply::FetchRefused { call: fetch.call, reason }));
            }
            Some(Purpose::Nobody) | None => {}
        }
        self.begin_reads(out);
    }

    fn end_behind(&mut self, client: ClientId, request: u64, out: &mut Outputs) {
        let awaiting = self.mounts.get(&client).filter(|mount| mount.awaits(request));
        let Some((conn, id)) = awaiting.map(|mount| (mount.conn, mount.id)) else {
            return;
        };
        self.remove(client);
        out.push(self.unmounted(conn, id, MountRefusal::Trimmed { start: self.start }));
    }

    /// Whether a feed waits for [`retry_archive`](Self::retry_archive).
    pub fn needs_archive_retry(&self) -> bool {
        !self.unarchived.is_empty()
    }

    /// Reads once more for the feeds for which the archive could not be read.
    pub fn retry_archive(&mut self, out: &mut Outputs) {
        for client in std::mem::take(&mut self.unarchived) {
            self.feed_again(client, out);
        }
    }

    /// Whether a call is read for once more, as its record was trimmed while the storage was asked.
    pub(super) fn moved_to_archive(&self, fetch: super::reads::Fetch, request: u64) -> bool {
        self.has_archive()
            && Keeper::asked(request) == Keeper::Storage
            && Keeper::of(fetch.id, self.start) == Keeper::Archive
    }
}
