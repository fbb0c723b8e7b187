//! Makes the checksums of changed segments right again, as far as their structure can still be
//! followed: what is wrong besides is then all that stands between the bytes and the program.
//!
//! Written from `docs/journal-format.md`, not with the program's own code.

use waltz_core::journal::{BLOCK_BYTES, SECTOR_BYTES};

use super::structure::{number, seal};
use crate::files::Contents;

const BLOCK: usize = BLOCK_BYTES as usize;
const BATCH_HEADER: usize = 64;
const TABLE_ENTRY: usize = 12;

/// Makes everything right that has a checksum.
pub(super) fn apply(contents: &mut Contents) {
    let mut previous = None;
    for bytes in contents.values_mut().filter(|bytes| bytes.len() >= 2 * BLOCK) {
        if let Some(chain) = previous {
            set(bytes, 72, chain);
        }
        previous = Some(segment(bytes));
    }
}

/// The checksum of the segment's last entry.
fn segment(bytes: &mut [u8]) -> u32 {
    let checked = if number(bytes, 8) == 2 { 88 } else { 92 };
    let seed = crc32c::crc32c(&bytes[..checked]);
    set(bytes, checked, seed);
    let copy = bytes.len() - BLOCK;
    bytes.copy_within(..BLOCK, copy);
    let mut chain = seed;
    for at in (BLOCK..copy).step_by(BLOCK) {
        if bytes[at..].starts_with(b"WBAT") {
            chain = batch(bytes, at, seed, chain);
        }
    }
    chain
}

/// The checksum of the batch's last entry.
fn batch(bytes: &mut [u8], at: usize, seed: u32, previous: u32) -> u32 {
    set(bytes, at + 48, previous);
    let header = crc32c::crc32c_append(seed, &bytes[at..at + 60]);
    set(bytes, at + 60, header);
    let chain = entries(bytes, at, previous).unwrap_or(previous);
    reseal(bytes, at, seed);
    chain
}

fn entries(bytes: &mut [u8], at: usize, mut chain: u32) -> Option<u32> {
    let (count, table) = (number(bytes, at + 32), number(bytes, at + 36));
    let mut entry = at + BATCH_HEADER;
    let mut body = entry.checked_add(table)?;
    for index in 0..count {
        let (head, length) = (number(bytes, entry), number(bytes, entry + 4));
        let fields = [at, index, head, length].map(|field| (field as u32).to_le_bytes());
        let head_bytes = bytes.get(entry + TABLE_ENTRY..)?.get(..head)?;
        let body_bytes = bytes.get(body..)?.get(..length)?;
        chain = crc32c::crc32c_append(chain, fields.as_flattened());
        chain = crc32c::crc32c_append(crc32c::crc32c_append(chain, head_bytes), body_bytes);
        set(bytes, entry + 8, chain);
        entry += TABLE_ENTRY + head;
        body += length;
    }
    Some(chain)
}

/// Writes the seal anew of a batch whose fields still say where it is.
fn reseal(bytes: &mut [u8], at: usize, seed: u32) {
    let (length, table) = (number(bytes, at + 28), number(bytes, at + 36));
    let range = seal(bytes, at);
    let Some(batch) = bytes.get(at..).and_then(|rest| rest.get(..length)) else { return };
    let Some(table) = batch.get(BATCH_HEADER..).and_then(|rest| rest.get(..table)) else { return };
    let mut behind = Vec::new();
    for sector in batch.chunks(SECTOR_BYTES) {
        let mut whole = [0; SECTOR_BYTES];
        whole[..sector.len()].copy_from_slice(sector);
        behind.extend(crc32c::crc32c(&whole).to_le_bytes());
    }
    behind.extend_from_slice(table);
    let Some(seal) = bytes.get_mut(range) else { return };
    let Some((head, rest)) = seal.split_at_mut_checked(BATCH_HEADER) else { return };
    let fits = behind.len().min(rest.len());
    rest[..fits].copy_from_slice(&behind[..fits]);
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &head[..60]), rest);
    head[60..].copy_from_slice(&checksum.to_le_bytes());
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}
