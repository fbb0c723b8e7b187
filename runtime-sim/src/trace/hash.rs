//! The running hash of a trace: equal in every process and release.

use std::fmt;

/// FNV-1a (Fowler, Noll, Vo) over words of 64 bits, with a shift that carries high bits back into
/// low ones: a few instructions a word, where text would cost as much as the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Hash {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;

    pub(super) fn new() -> Self {
        Self(Self::BASIS)
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }

    pub(super) fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(Self::PRIME);
        self.0 ^= self.0 >> 29;
    }

    /// Bytes and their length, so that what follows can't be taken for a part of them.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
}

/// Text is hashed as it is formatted, without a buffer.
impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
