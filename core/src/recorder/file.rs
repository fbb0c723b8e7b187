//! A recording as bytes: a preamble, and parts that each have a length and a checksum.
//!
//! `docs/recordings.md` describes the format. Lengths are checked against what is there before
//! they are used.

use std::borrow::Cow;

use bytes::{Buf, BufMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::replay::{Part, Replay};
use super::{Fingerprint, Recorded, Recorder, RecordingError};
use crate::node::Node;

const MAGIC: &[u8; 8] = b"WALTZREC";
const FORMAT: u8 = 2;
/// A kind, a length and a checksum.
const PART_HEADER_BYTES: usize = 1 + 8 + 4;

/// What a part holds.
mod kind {
    pub(super) const BUILD: u8 = 0;
    pub(super) const BASE: u8 = 1;
    pub(super) const INPUT: u8 = 2;
    pub(super) const END: u8 = 3;
}

/// The last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    /// Of the node's state after the last input, if it came to the end of that step.
    state: Option<Fingerprint>,
}

/// A recording that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    first: u64,
    pub(super) start: Box<Node>,
    pub(super) parts: Vec<Part>,
    end: Option<Fingerprint>,
}

impl Recorder {
    /// The recording as bytes. `node` is the node as it is now; without one, as after a panic, the
    /// recording can't tell whether a replay comes to the same state.
    pub fn encode(&self, node: Option<&Node>) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u8(FORMAT);
        put_part(&mut out, kind::BUILD, build().as_bytes());
        for generation in self.generations() {
            let mut base = generation.first.to_le_bytes().to_vec();
            base.extend_from_slice(&generation.base);
            put_part(&mut out, kind::BASE, &base);
            for input in generation.encoded() {
                put_part(&mut out, kind::INPUT, &input);
            }
        }
        put_part(&mut out, kind::END, &encoded(&End { state: node.map(Fingerprint::of) }));
        out
    }
}

impl Recording {
    /// How many bytes tell a recording from other files.
    pub const PREAMBLE_BYTES: usize = MAGIC.len() + 1;

    /// Whether a file that begins with these bytes can be a recording: before all of it is read.
    ///
    /// # Errors
    /// When it is something else, or has a format that is not known here.
    pub fn recognize(beginning: &[u8]) -> Result<(), RecordingError> {
        Parts::new(beginning).map(drop)
    }

    /// Reads a recording back.
    ///
    /// # Errors
    /// When the bytes are no whole recording by this version of the program.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut parts = Parts::new(bytes)?;
        let (offset, build) = parts.expect(kind::BUILD, "it should name the program")?;
        is_this_build(offset, build)?;
        let (offset, base) = parts.expect(kind::BASE, "a state should come first")?;
        let (first, start) = decode_base(offset, base)?;
        let mut recording = Self { first, start, parts: Vec::new(), end: None };
        let mut next = first;
        loop {
            let (offset, kind, body) = parts.next()?;
            match kind {
                kind::INPUT => {
                    recording.parts.push(Part::Input(decode::<Recorded>(offset, body)?));
                    let after = next.checked_add(1);
                    next = after.ok_or_else(|| nonsense(offset, "its number is too large"))?;
                }
                kind::BASE => {
                    let (number, node) = decode_base(offset, body)?;
                    if number != next {
                        let reason = format!("a state before input {number}, where {next} is next");
                        return Err(nonsense(offset, reason));
                    }
                    recording.parts.push(Part::Base(node));
                }
                kind::END => {
                    recording.end = decode::<End>(offset, body)?.state;
                    return match parts.rest.len() {
                        0 => Ok(recording),
                        more => Err(nonsense(offset, format!("{more} bytes follow the end"))),
                    };
                }
                other => return Err(nonsense(offset, format!("there is no kind {other}"))),
            }
        }
    }

    /// How many inputs it has.
    pub fn len(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Input(_))).count()
    }

    /// Whether it has no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of its first input in the node's life, from 0.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Runs it through the machine.
    pub fn replay(self) -> Replay {
        Replay::new(self.first, *self.start, self.parts, self.end)
    }
}

/// Who can read what is written here.
fn build() -> Cow<'static, str> {
    let version = env!("CARGO_PKG_VERSION");
    match cfg!(feature = "planted-bugs") {
        true => format!("{version} with planted bugs").into(),
        false => version.into(),
    }
}

fn is_this_build(offset: usize, found: &[u8]) -> Result<(), RecordingError> {
    let here = build();
    if found == here.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8(found.to_vec())
        .map_err(|_| nonsense(offset, "the program's name is no text"))?;
    Err(RecordingError::OtherBuild { found, here: here.into_owned() })
}

fn decode_base(offset: usize, mut body: &[u8]) -> Result<(u64, Box<Node>), RecordingError> {
    let first = body.try_get_u64_le().map_err(|_| nonsense(offset, "it is too short"))?;
    Ok((first, decode(offset, body)?))
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("what is recorded has an encoding")
}

fn decode<T: DeserializeOwned>(offset: usize, body: &[u8]) -> Result<T, RecordingError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(nonsense(offset, format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(nonsense(offset, error)),
    }
}

fn nonsense(offset: usize, reason: impl std::fmt::Display) -> RecordingError {
    RecordingError::Nonsense { offset, reason: reason.to_string() }
}

fn put_part(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.put_u8(kind);
    out.put_u64_le(body.len() as u64);
    out.put_u32_le(checksum(kind, body));
    out.put_slice(body);
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), &(body.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

/// Takes parts off the front.
struct Parts<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Parts<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, RecordingError> {
        match bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first) {
            None => Err(RecordingError::NotARecording),
            Some((&FORMAT, rest)) => Ok(Self { rest, offset: Recording::PREAMBLE_BYTES }),
            Some((&found, _)) => Err(RecordingError::Format { found, known: FORMAT }),
        }
    }

    /// The next part: where it begins, its kind and its body.
    fn next(&mut self) -> Result<(usize, u8, &'a [u8]), RecordingError> {
        let offset = self.offset;
        let truncated = RecordingError::Truncated { offset };
        let Some((mut header, rest)) = self.rest.split_at_checked(PART_HEADER_BYTES) else {
            return Err(truncated);
        };
        let (kind, length, crc) = (header.get_u8(), header.get_u64_le(), header.get_u32_le());
        let length = usize::try_from(length).ok();
        let Some((body, rest)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return Err(truncated);
        };
        if checksum(kind, body) != crc {
            return Err(RecordingError::Damaged { offset });
        }
        self.rest = rest;
        self.offset += PART_HEADER_BYTES + body.len();
        Ok((offset, kind, body))
    }

    fn expect(&mut self, kind: u8, why: &str) -> Result<(usize, &'a [u8]), RecordingError> {
        match self.next()? {
            (offset, found, body) if found == kind => Ok((offset, body)),
            (offset, ..) => Err(nonsense(offset, why)),
        }
    }
}

/// The same recording as another version would have written it.
#[cfg(test)]
pub(super) fn with_build(recording: &[u8], other: &str) -> Vec<u8> {
    let mut parts = Parts::new(recording).expect("a recording");
    parts.next().expect("its program's name");
    let mut out = recording[..Recording::PREAMBLE_BYTES].to_vec();
    put_part(&mut out, kind::BUILD, other.as_bytes());
    out.extend_from_slice(parts.rest);
    out
}
