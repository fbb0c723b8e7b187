//! What may come of changed files.

use std::ops::Range;

use bytes::Bytes;
use waltz_core::journal::{
    Damage, Entry, Fold, FoundBatch, FoundEntry, Place, SECTOR_BYTES, SegmentHeader,
    parse_segment_name, segment_name,
};
use waltz_core::node::Recovered;
use waltz_core::planted::Planted;
use waltz_runtime::journal::{Examiner, JournalError, Reader, Recovery, examine, fold_batch};

use super::structure::{Structure, Written};
use crate::files::{Contents, Files};
use crate::sample;

/// What is found, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Whether what comes may be the end of a longer history.
    is_released: bool,
    entries: Vec<Entry>,
    /// Whose bodies are not as they were written.
    damaged: Vec<usize>,
    places: Vec<(usize, Place)>,
}

impl Fold for Found {
    fn begin(&mut self, is_released: bool) -> Result<(), String> {
        *self = Self { is_released, ..Self::default() };
        Ok(())
    }

    fn entry(&mut self, entry: FoundEntry<'_>) -> Result<(), String> {
        let FoundEntry { head, place, body, is_damaged } = entry;
        let index = self.entries.len();
        self.places.extend(place.map(|place| (index, place)));
        self.damaged.extend(is_damaged.then_some(index));
        self.entries.push(Entry { head, body: Bytes::copy_from_slice(body) });
        Ok(())
    }

    fn end(&mut self, _: Option<&Damage>) -> Result<(), String> {
        Ok(())
    }
}

impl Examiner for Found {
    type Error = JournalError;

    fn begin(&mut self, _: &[SegmentHeader], is_released: bool) -> Result<(), JournalError> {
        self.is_released = is_released;
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &SegmentHeader,
        batch: FoundBatch<'_>,
    ) -> Result<(), JournalError> {
        fold_batch(segment, batch, self)
    }
}

/// What an opening found, and the files after it.
struct Opened {
    files: Files,
    recovery: Recovery,
    found: Found,
}

/// Looks, opens, reads and folds, none of which panics; what an opening does, unless it
/// refuses.
fn opened(changed: &Contents) -> Option<Opened> {
    let files = Files::new(changed);
    let mut seen = Found::default();
    let examined = examine(&mut files.clone(), &mut seen);
    assert!(files.contents() == *changed, "looking changes nothing");
    let mut state = Recovered::new(sample::config().limits, Planted::NONE);
    // The entries may contradict one another; that is for the fold to say.
    let _ = sample::open(&Files::new(changed), 11, &mut state);
    let mut found = Found::default();
    let Ok((_, recovery)) = sample::open(&files, 12, &mut found) else {
        assert!(files.contents() == *changed, "what is refused stays as it is");
        return None;
    };
    if recovery.suspect.is_some() {
        assert!(files.contents() == *changed, "a suspect journal stays as it is");
    }
    let examination = examined.expect("what opens can be looked at");
    assert_eq!(examination.recovery.suspect, recovery.suspect);
    assert!(seen == found, "looking and opening find the same");
    let mut reader = Reader::new(files.clone());
    for (index, place) in &found.places {
        let read = reader.read(std::slice::from_ref(place)).expect("its bytes are there");
        let is_sound = !found.damaged.contains(index);
        assert!(!is_sound || read[0] == found.entries[*index].body, "it is read as it was found");
    }
    Some(Opened { files, recovery, found })
}

/// Of forged files nothing can be asked but that they end in an orderly way.
pub(super) fn of_forgery(changed: &Contents) {
    opened(changed);
}

/// Of damaged files nothing is made that was not written, and nothing is missing in silence.
pub(super) fn of_damage(sound: &Contents, structure: &Structure, changed: &Contents) {
    let Some(Opened { files, recovery, found }) = opened(changed) else { return };
    let mut again = Found::default();
    let (_, second) = sample::open(&files, 13, &mut again).expect("what opened opens again");
    let is_same = again == found && second.suspect == recovery.suspect;
    // An opening writes the last batch and its seal again. That may be over the only seal of another
    // batch, which was put in the wrong place and could be read there.
    let is_told = second.suspect.is_some() && found.entries.starts_with(&again.entries);
    assert!(is_same || is_told, "the next opening finds the same, or says that it can't");
    let (skipped, missing) = split(structure, &found, recovery.suspect.is_some());
    let written = structure.entries.iter().skip(skipped);
    for (index, (entry, written)) in found.entries.iter().zip(written).enumerate() {
        assert_eq!(entry.head, written.head, "entry {index}");
        let is_damaged = found.damaged.contains(&index);
        assert!(is_damaged || entry.body == written.body, "entry {index} has another body");
    }
    let is_told = found.damaged.is_empty() || !recovery.damaged.is_empty();
    assert!(is_told, "damaged bodies are told: {recovery:?}");
    if recovery.suspect.is_none() {
        let last = changed.keys().filter_map(|name| parse_segment_name(name));
        let last = last.max().unwrap_or(0);
        for batch in missing {
            let is_gone = batch.segment > last;
            let is_cut = batch.segment == last && can_be_cut(sound, changed, batch);
            assert!(is_gone || is_cut, "{batch:?} is missing in silence: {recovery:?}");
        }
    }
}

/// How many entries lie before those that were found, and which batches after them.
fn split<'a>(structure: &'a Structure, found: &Found, is_suspect: bool) -> (usize, &'a [Written]) {
    let mut skipped = 0;
    if found.is_released {
        // With the newest header, what it says of released segments is lost, too.
        assert!(is_suspect, "nothing was released");
        let first = found.entries.first();
        let is_first = |entry: &Entry| first.is_none_or(|first| first.head == entry.head);
        skipped = structure.entries.iter().position(is_first).expect("nothing is invented");
    }
    let until = skipped + found.entries.len();
    let mut ends = structure.batches.iter().scan(0, |end, batch| {
        *end += batch.entries;
        Some(*end)
    });
    let whole = match until {
        0 => Some(0),
        _ => ends.position(|end| end == until).map(|last| last + 1),
    };
    let whole = whole.expect("of a batch all counts, or nothing, and nothing is invented");
    (skipped, &structure.batches[whole..])
}

/// Whether what is left of one of the last batches can't be told from a write cut short.
fn can_be_cut(sound: &Contents, changed: &Contents, batch: &Written) -> bool {
    let name = segment_name(batch.segment);
    let (before, after) = (&sound[&name], &changed[&name]);
    let differs = |range: Range<usize>| before[range.clone()] != after[range];
    let is_lost = |start: usize| {
        let sector = start..(start + SECTOR_BYTES).min(batch.bytes.end);
        !differs(sector.clone()) || after[sector].iter().all(|byte| *byte == 0)
    };
    let is_torn = batch.bytes.clone().step_by(SECTOR_BYTES).all(is_lost);
    differs(batch.bytes.clone()) && (differs(batch.seal.clone()) || is_torn)
}
