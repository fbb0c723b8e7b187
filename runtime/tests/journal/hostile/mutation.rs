//! Ways to change a journal's files.

use std::ops::Range;

use waltz_core::journal::{BLOCK_BYTES, SECTOR_BYTES, segment_name, spare_name};

use super::choices::Choices;
use super::structure::Structure;
use crate::files::Contents;

const BLOCK: usize = BLOCK_BYTES as usize;
/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 10] = [0, 1, 2, 63, 511, 0x1000, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX];

/// Changes something.
pub(super) fn apply(contents: &mut Contents, structure: &Structure, choices: &mut Choices<'_>) {
    match choices.below(12) {
        0..=1 => flip(contents, structure, choices),
        2..=3 => fill(contents, structure, choices),
        4..=5 => splice(contents, structure, choices),
        6..=8 => set_field(contents, structure, choices),
        9 => resize(contents, choices),
        10 => rename(contents, choices),
        _ => remove(contents, choices),
    }
}

/// The file that a choice falls on, if any is left.
fn file<'a>(contents: &'a mut Contents, choices: &mut Choices<'_>) -> Option<&'a mut Vec<u8>> {
    let count = contents.len();
    contents.values_mut().nth(if count == 0 { 0 } else { choices.below(count) })
}

/// A range of a file: about a batch, a seal or a header, or any.
fn range(length: usize, structure: &Structure, choices: &mut Choices<'_>) -> Range<usize> {
    let batch = &structure.batches[choices.below(structure.batches.len())];
    let (start, longest) = match choices.below(8) {
        0 => (0, BLOCK),
        1 => (length.saturating_sub(BLOCK), BLOCK),
        2..=3 => (batch.bytes.start, batch.bytes.len()),
        4 => (batch.seal.start, batch.seal.len()),
        5 => (batch.bytes.start + choices.below(batch.bytes.len()), SECTOR_BYTES),
        6 => (choices.below(length.max(1)) / SECTOR_BYTES * SECTOR_BYTES, 4 * BLOCK),
        _ => (choices.below(length.max(1)), 64),
    };
    let whole = choices.below(4) == 0;
    let end = start + if whole { longest } else { 1 + choices.below(longest) };
    start.min(length)..end.min(length)
}

fn flip(contents: &mut Contents, structure: &Structure, choices: &mut Choices<'_>) {
    let Some(bytes) = file(contents, choices) else { return };
    let at = range(bytes.len(), structure, choices).start;
    let change = choices.byte().max(1);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= change;
    }
}

fn fill(contents: &mut Contents, structure: &Structure, choices: &mut Choices<'_>) {
    let Some(bytes) = file(contents, choices) else { return };
    let range = range(bytes.len(), structure, choices);
    let with = if choices.below(4) == 0 { choices.byte() } else { 0 };
    bytes[range].fill(with);
}

/// Copies a piece to where another one is, perhaps of another file.
fn splice(contents: &mut Contents, structure: &Structure, choices: &mut Choices<'_>) {
    let Some(from) = file(contents, choices) else { return };
    let piece = from[range(from.len(), structure, choices)].to_vec();
    let Some(to) = file(contents, choices) else { return };
    let start = range(to.len(), structure, choices).start;
    let room = &mut to[start..];
    let length = piece.len().min(room.len());
    room[..length].copy_from_slice(&piece[..length]);
}

/// Puts another number where one is in a header, a batch, its table, or a seal.
fn set_field(contents: &mut Contents, structure: &Structure, choices: &mut Choices<'_>) {
    let batch = &structure.batches[choices.below(structure.batches.len())];
    let (start, fields) = match choices.below(4) {
        0 => (0, 24),
        1 => (batch.bytes.start, 16),
        2 => (batch.bytes.start + 64, 32),
        _ => (batch.seal.start, 16),
    };
    let at = start + 4 * choices.below(fields);
    let Some(bytes) = contents.get_mut(&segment_name(batch.segment)) else { return };
    let edge = choices.one_of(&EDGES);
    let value = match choices.below(4) {
        0 => u64::from(u32::from_le_bytes([(); 4].map(|()| choices.byte()))),
        1 => edge.wrapping_neg(),
        _ => edge,
    };
    let value = value.to_le_bytes();
    let length = if choices.below(2) == 0 { 4 } else { 8 };
    if let Some(field) = bytes.get_mut(at..at + length) {
        field.copy_from_slice(&value[..length]);
    }
}

fn resize(contents: &mut Contents, choices: &mut Choices<'_>) {
    let Some(bytes) = file(contents, choices) else { return };
    let length = match choices.below(3) {
        0 => choices.below(bytes.len().max(1)),
        1 => bytes.len().saturating_sub(BLOCK),
        _ => bytes.len() + choices.below(2 * BLOCK),
    };
    bytes.resize(length, 0);
}

/// Gives a file's content another name, or two files each other's.
fn rename(contents: &mut Contents, choices: &mut Choices<'_>) {
    let names: Vec<String> = contents.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let from = choices.one_of(&names);
    let to = match choices.below(4) {
        0 => segment_name(choices.below(8) as u32),
        1 => segment_name(u32::MAX),
        2 => spare_name(choices.below(4) as u64),
        _ => choices.one_of(&names),
    };
    let bytes = contents[&from].clone();
    let replaced = contents.insert(to, bytes);
    match replaced {
        Some(other) if choices.below(2) == 0 => contents.insert(from, other),
        _ if choices.below(2) == 0 => contents.remove(&from),
        _ => None,
    };
}

fn remove(contents: &mut Contents, choices: &mut Choices<'_>) {
    let names: Vec<String> = contents.keys().cloned().collect();
    if !names.is_empty() {
        contents.remove(&choices.one_of(&names));
    }
}
