//! What a body still has of the run that was written there.
//!
//! Records of a rotten body are trusted only where its lengths still lead from record to record up
//! to its very end. Where they do not, nothing after the first bad record is: an application may
//! store bytes that look like a record, and they must not be taken for one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{IdRange, SessionId, TransactionId};
use crate::limits::Limits;
use crate::record::{HEADER_BYTES, RecordView, Run};

use super::index::StoredRun;

/// What came of reading a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// What can be read, in order.
    pub(super) sound: Vec<Run>,
    /// The other records, in order.
    pub(super) lost: Vec<IdRange>,
    /// What is wrong with the first of those, for people.
    pub(super) fault: Option<String>,
}

impl Contents {
    /// A body that can't be read at all.
    pub(super) fn unreadable(run: StoredRun, error: &str) -> Self {
        let last = TransactionId(run.first.0 + u64::from(run.count) - 1);
        let lost = vec![IdRange { first: run.first, last }];
        Self { sound: Vec::new(), lost, fault: Some(error.to_owned()) }
    }

    /// A body that came from the disk; `session` sequenced what was written there.
    pub(super) fn of(session: SessionId, run: StoredRun, body: &Bytes, limits: &Limits) -> Self {
        match Run::verify(session, run.first, run.count, body.clone(), limits) {
            Ok(run) => Self { sound: vec![run], lost: Vec::new(), fault: None },
            Err(error) => {
                let mut contents = Self::unreadable(run, &error.to_string());
                contents.salvage(session, run, body, limits);
                contents
            }
        }
    }

    fn salvage(&mut self, session: SessionId, run: StoredRun, body: &Bytes, limits: &Limits) {
        let whole = std::mem::take(&mut self.lost);
        let mut next = run.first;
        for stretch in sound_stretches(run, body, limits) {
            let Stretch { first, count, start, end } = stretch;
            self.lose(next, first);
            next = TransactionId(first.0 + u64::from(count));
            self.sound.push(Run { session, first, count, bytes: body.slice(start..end) });
        }
        self.lose(next, whole[0].last.next());
    }

    fn lose(&mut self, first: TransactionId, next: TransactionId) {
        if first < next {
            self.lost.push(IdRange { first, last: TransactionId(next.0 - 1) });
        }
    }
}

/// Sound records side by side: bytes `start..end` of the body.
struct Stretch {
    first: TransactionId,
    count: u32,
    start: usize,
    end: usize,
}

fn sound_stretches(run: StoredRun, body: &Bytes, limits: &Limits) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut start, mut first_bad) = (0, None);
    let mut held = 0;
    while let Some(length) = length_at(body, start).filter(|_| held < run.count) {
        let (id, end) = (TransactionId(run.first.0 + u64::from(held)), start + length);
        let record = RecordView::parse(&body[start..end], limits);
        match stretches.last_mut() {
            _ if !record.is_ok_and(|(record, _)| record.id() == id) => {
                first_bad.get_or_insert(stretches.len());
            }
            Some(stretch) if stretch.end == start => {
                (stretch.count, stretch.end) = (stretch.count + 1, end);
            }
            _ => stretches.push(Stretch { first: id, count: 1, start, end }),
        }
        (start, held) = (end, held + 1);
    }
    let led_to_the_end = start == body.len() && held == run.count;
    if !led_to_the_end {
        stretches.truncate(first_bad.unwrap_or(usize::MAX));
    }
    stretches
}

/// What the record there says of its length, if so much is there.
fn length_at(body: &[u8], start: usize) -> Option<usize> {
    let length = body.get(start..)?.first_chunk().map(|length| u32::from_le_bytes(*length))?;
    let end = start.checked_add(length as usize)?;
    (length as usize >= HEADER_BYTES && end <= body.len()).then_some(length as usize)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::journal::Place;
    use crate::storage::testing::{run, session};

    const RUN: StoredRun = StoredRun {
        first: TransactionId(3),
        count: 6,
        place: Place { segment: 1, offset: 0, length: 1 },
    };

    fn contents(body: BytesMut) -> Contents {
        Contents::of(session(1), RUN, &body.freeze(), &Limits::default())
    }

    /// Where records 3 to 8 start, and where the last one ends.
    fn starts(body: &[u8]) -> Vec<usize> {
        let mut starts = vec![0];
        while let Some(length) = length_at(body, *starts.last().unwrap()) {
            starts.push(starts.last().unwrap() + length);
        }
        starts
    }

    #[test]
    fn one_flipped_bit_loses_one_record_or_what_follows_a_bad_length() {
        let whole = run(1, 3, 6);
        let starts = starts(&whole);
        for bit in 0..whole.len() * 8 {
            let mut body = BytesMut::from(&whole[..]);
            body[bit / 8] ^= 1 << (bit % 8);
            let index = starts.partition_point(|start| *start <= bit / 8) - 1;
            let hit = TransactionId(3 + index as u64);
            let Contents { sound, lost, fault } = contents(body);
            assert!(fault.is_some());
            assert_eq!(lost[0].first, hit, "bit {bit}");
            let in_length = bit / 8 - starts[index] < 4;
            assert!(lost.len() == 1 && (lost[0].last == hit || in_length), "bit {bit}: {lost:?}");
            for run in &sound {
                assert_eq!(*run, self::sound(run.first.0, run.count));
            }
            let ids: u64 = sound.iter().map(|run| u64::from(run.count)).sum();
            assert_eq!(ids + lost[0].last.0 - lost[0].first.0 + 1, 6);
        }
    }

    fn sound(first: u64, count: u32) -> Run {
        let bytes = run(1, first, count.into());
        Run { session: session(1), first: TransactionId(first), count, bytes }
    }

    #[test]
    fn nothing_after_a_bad_record_is_trusted_when_the_end_does_not_fit() {
        let whole = run(1, 3, 6);
        let mut body = BytesMut::from(&whole[..whole.len() - 1]);
        body[70] ^= 1;
        let contents = contents(body);
        assert_eq!(contents.sound, []);
        let all = IdRange { first: TransactionId(3), last: TransactionId(8) };
        assert_eq!(contents.lost, [all]);
    }

    #[test]
    fn sound_records_of_another_place_are_not_taken() {
        let other = contents(BytesMut::from(&run(1, 4, 6)[..]));
        assert_eq!(other.sound, []);
        assert_eq!(contents(BytesMut::new()).sound, []);
    }
}
