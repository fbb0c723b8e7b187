//! A run as it differs from the one before it.
//!
//! A byte says what is not as expected, then come those values and the offset, each in as many bytes
//! as it needs. These bytes never leave memory.

use super::StoredRun;
use crate::id::TransactionId;
use crate::journal::Place;

/// It begins elsewhere than where the one before it ends.
const FIRST: u8 = 1;
/// It has another number of records.
const COUNT: u8 = 2;
/// It is in another segment.
const SEGMENT: u8 = 4;
/// Its body has another length.
const LENGTH: u8 = 8;

/// Adds a run after another one.
pub(super) fn write(bytes: &mut Vec<u8>, before: &StoredRun, run: &StoredRun) {
    let (place, place_before) = (run.place, before.place);
    let values = [
        (FIRST, zigzag(run.first.0.wrapping_sub(end(before)) as i64)),
        (COUNT, zigzag(i64::from(run.count) - i64::from(before.count))),
        (SEGMENT, zigzag(i64::from(place.segment) - i64::from(place_before.segment))),
        (LENGTH, zigzag(i64::from(place.length) - i64::from(place_before.length))),
    ];
    let told = values.iter().filter(|(_, value)| *value != 0);
    bytes.push(told.clone().fold(0, |tag, (flag, _)| tag | flag));
    told.for_each(|(_, value)| write_varint(bytes, *value));
    write_varint(bytes, zigzag(i64::from(place.offset) - offset(before, place.segment)));
}

/// Takes the next run; none after the last one.
pub(super) fn read(bytes: &mut &[u8], before: &StoredRun) -> Option<StoredRun> {
    let tag = bytes.split_off_first()?;
    let mut value = |flag| match tag & flag {
        0 => 0,
        _ => unzigzag(read_varint(bytes)),
    };
    let first = TransactionId(end(before).wrapping_add(value(FIRST) as u64));
    let count = sum(before.count, value(COUNT));
    let segment = sum(before.place.segment, value(SEGMENT));
    let length = sum(before.place.length, value(LENGTH));
    let offset = (offset(before, segment) + unzigzag(read_varint(bytes))) as u32;
    Some(StoredRun { first, count, place: Place { segment, offset, length } })
}

/// Where the next run is expected to begin.
fn end(run: &StoredRun) -> u64 {
    run.first.0.wrapping_add(u64::from(run.count))
}

/// Where in a segment the next run's body is expected.
fn offset(before: &StoredRun, segment: u32) -> i64 {
    match before.place {
        place if place.segment == segment => i64::from(place.offset) + i64::from(place.length),
        _ => 0,
    }
}

/// Both came from numbers of that size.
fn sum(before: u32, difference: i64) -> u32 {
    (i64::from(before) + difference) as u32
}

/// Small numbers of either sign are small.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = bytes.split_off_first().expect("a run is written whole");
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
