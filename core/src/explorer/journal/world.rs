//! A journal over its files: written, released, lost and recovered.

use std::collections::BTreeMap;

use super::file::File;
use super::model::{Expected, Found, Model};
use crate::explorer::draw::Draw;
use crate::explorer::explore::Broken;
use crate::id::{ClusterKey, Incarnation, NodeId, StorageId};
use crate::journal::{
    Batch, HeaderVersion, Layout, Previous, Rewrite, SegmentHeader, SegmentScan, SegmentWriter,
};
use crate::planted::Planted;
use crate::time::Random;

const SEGMENT_BYTES: u32 = 64 << 10;

/// The segment that is being written.
#[derive(Debug)]
struct Tail {
    header: SegmentHeader,
    writer: SegmentWriter,
}

/// All of it.
pub(super) struct World {
    random: Random,
    planted: Planted,
    layout: Layout,
    model: Model,
    /// By segment.
    files: BTreeMap<u32, File>,
    /// Files of released segments.
    spares: Vec<File>,
    /// Whether new segments are made of such files as they are, instead of zeros.
    recycles: bool,
    /// None before a recovery, and after one that ended early.
    tail: Option<Tail>,
    incarnation: Incarnation,
    /// Whether power was lost in the midst of a write since the last recovery.
    is_torn: bool,
}

impl World {
    pub(super) fn new(random: Random, recycles: bool, planted: Planted) -> Self {
        Self {
            random,
            planted,
            layout: Layout::new(SEGMENT_BYTES).expect("a valid size"),
            model: Model::default(),
            files: BTreeMap::new(),
            spares: Vec::new(),
            recycles,
            tail: None,
            incarnation: Incarnation(0),
            is_torn: false,
        }
    }

    /// A batch is written, after the one before is durable.
    pub(super) fn write(&mut self) {
        self.sync();
        let (mut batch, mut entries) = (Batch::default(), Vec::new());
        for _ in 0..1 + self.random.below(4) {
            let most = [1, 100, 3_000, 12_000][self.random.below(4)];
            let entry = self.model.entry(self.random.below(most));
            if batch.push(entry.clone(), self.layout).is_err() {
                break;
            }
            entries.push(entry);
        }
        let Some(tail) = &mut self.tail else { return };
        let placed = tail.writer.place(batch).or_else(|batch| {
            self.rotate(self.tail.as_ref().map_or(1, |tail| tail.header.first_segment));
            let tail = self.tail.as_mut().expect("it was just begun");
            tail.writer.place(batch)
        });
        let encoded = placed.expect("an empty segment has room for any batch");
        let segment = self.tail.as_ref().expect("it is written to").header.segment;
        let file = self.files.get_mut(&segment).expect("the tail has a file");
        file.write(encoded.offset, encoded.slices.concat().into());
        file.write(encoded.seal_offset, encoded.seal);
        self.model.wrote(segment, entries);
    }

    /// What was written becomes durable.
    pub(super) fn sync(&mut self) {
        if self.tail.is_some() {
            self.make_durable();
        }
    }

    fn make_durable(&mut self) {
        self.files.values_mut().for_each(File::sync);
        self.model.synced();
    }

    /// Some of the oldest segments are given up.
    pub(super) fn release(&mut self) {
        let segments: Vec<_> = self.files.keys().copied().collect();
        let Some(below) = self.random.one_of(&segments).filter(|_| self.tail.is_some()) else {
            return;
        };
        self.sync();
        self.rotate(below);
        let kept = self.files.split_off(&below);
        self.spares.extend(std::mem::replace(&mut self.files, kept).into_values());
        self.model.released(below);
    }

    /// The process dies, and perhaps all that runs on power.
    pub(super) fn crash(&mut self, without_power: bool) {
        self.tail = None;
        if without_power {
            self.is_torn |= self.files.values().any(File::is_unsynced);
            let random = &mut self.random;
            self.files.values_mut().for_each(|file| file.lose_power(random));
        }
    }

    /// The journal is opened. Whether it can be written to: nothing more comes of one with damage.
    pub(super) fn open(&mut self) -> Result<bool, Broken> {
        let (found, previous, rewrite) = self.recover()?;
        let expected = match (self.recycles, self.is_torn) {
            (true, true) => Expected::Damage,
            // What a former life left beyond the end is taken for a beginning.
            (true, false) | (false, true) => Expected::Torn,
            (false, false) => Expected::Whole,
        };
        self.model.found(&found, expected)?;
        if !found.is_sound() {
            return Ok(false);
        }
        let last = previous.map_or(0, |previous| previous.segment);
        if let (Some(Rewrite { offset, batch, seal_offset, seal }), Some(file)) =
            (rewrite, self.files.get_mut(&last))
        {
            file.write(offset, batch);
            file.write(seal_offset, seal);
        }
        // It may die here, too.
        if self.random.chance(6) {
            return Ok(true);
        }
        self.make_durable();
        let newest = self.files.last_key_value().map_or(0, |(segment, _)| *segment);
        let first_segment = self.first_segment()?;
        let empty = self.files.split_off(&(last + 1));
        self.spares.extend(empty.into_values());
        self.incarnation.0 += 1;
        let header = SegmentHeader {
            version: HeaderVersion::default(),
            layout: self.layout,
            cluster: ClusterKey(1),
            node: NodeId(2),
            storage: StorageId(3),
            segment: newest + 1,
            incarnation: self.incarnation,
            nonce: self.random.bits(),
            first_batch: 1,
            first_segment,
            previous,
            replay_from: None,
        };
        self.begin(header);
        self.is_torn = false;
        Ok(true)
    }

    /// Everything that the files tell, what a new segment is to follow, and what to write again.
    fn recover(&self) -> Result<(Found, Option<Previous>, Option<Rewrite>), Broken> {
        let (headers, mut found) = (self.headers()?, Found::default());
        let mut previous = headers.first().and_then(|header| header.previous);
        let mut rewrite = None;
        for (index, header) in headers.iter().enumerate() {
            let later = headers.get(index + 1).and_then(|later| later.previous);
            let (bytes, end) = (self.files[&header.segment].read(), later.map(|later| later.end));
            let mut scan = SegmentScan::new(*header, bytes, end).with_planted(self.planted);
            while let Some(batch) = scan.next_batch().map_err(|error| error.to_string())? {
                batch.entries.into_iter().for_each(|entry| found.push(header.segment, entry));
            }
            if let Some(damage) = scan.suspect() {
                found.suspect = Some(damage);
                break;
            }
            found.torn = scan.torn();
            if let Some(again) = scan.rewrite() {
                previous = Some(Previous { segment: header.segment, end: scan.end() });
                rewrite = later.is_none().then_some(again);
            }
        }
        Ok((found, previous, rewrite))
    }

    fn headers(&self) -> Result<Vec<SegmentHeader>, Broken> {
        let header = |file: &File| SegmentHeader::decode(file.durable());
        let headers: Result<Vec<_>, _> = self.files.values().map(header).collect();
        headers.map_err(|error| error.to_string())
    }

    fn first_segment(&self) -> Result<u32, Broken> {
        Ok(self.headers()?.last().map_or(1, |newest| newest.first_segment))
    }

    /// Goes on in a new segment. Everything in the present one is durable.
    fn rotate(&mut self, first_segment: u32) {
        let Some(Tail { header, writer }) = self.tail.take() else { return };
        let end = writer.end();
        let (previous, segment) = (Previous { segment: header.segment, end }, header.segment + 1);
        self.begin(SegmentHeader {
            segment,
            first_batch: end.next_batch,
            first_segment,
            previous: Some(previous),
            ..header
        });
    }

    /// A new segment: its header is durable before the file has its name.
    fn begin(&mut self, header: SegmentHeader) {
        let spare = self.spares.pop().filter(|_| self.recycles);
        let mut file = spare.unwrap_or_else(|| File::zeros(SEGMENT_BYTES));
        file.write(0, header.encode());
        file.write(header.layout.copy_offset(), header.encode());
        let (segment, writer) = (header.segment, SegmentWriter::new(&header));
        file.sync();
        self.files.insert(segment, file);
        self.tail = Some(Tail { header, writer });
    }
}
