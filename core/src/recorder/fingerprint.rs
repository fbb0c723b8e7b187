//! A short number that tells two values apart.

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// The CRC32C of a value's encoding: different for different values but once in four billion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(u32);

impl Fingerprint {
    /// A value's fingerprint.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        postcard::serialize_with_flavor(value, Checksum::default())
            .expect("effects and states have an encoding")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

const BUFFER_BYTES: usize = 64;

/// Takes an encoding without keeping it. Small pieces are gathered first.
struct Checksum {
    crc: u32,
    buffer: [u8; BUFFER_BYTES],
    filled: usize,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { crc: 0, buffer: [0; BUFFER_BYTES], filled: 0 }
    }
}

impl Checksum {
    fn flush(&mut self) {
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer[..self.filled]);
        self.filled = 0;
    }
}

impl Flavor for Checksum {
    type Output = Fingerprint;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.filled == BUFFER_BYTES {
            self.flush();
        }
        self.buffer[self.filled] = byte;
        self.filled += 1;
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.filled + bytes.len() <= BUFFER_BYTES {
            self.buffer[self.filled..][..bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
        } else {
            self.flush();
            self.crc = crc32c::crc32c_append(self.crc, bytes);
        }
        Ok(())
    }

    fn finalize(mut self) -> postcard::Result<Fingerprint> {
        self.flush();
        Ok(Fingerprint(self.crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_of_the_encoding_however_that_comes_in_pieces() {
        let texts: Vec<String> = (0..200).map(|length| "x".repeat(length)).collect();
        for count in 0..texts.len() {
            let encoded = postcard::to_stdvec(&texts[..count]).unwrap();
            assert_eq!(Fingerprint::of(&texts[..count]), Fingerprint(crc32c::crc32c(&encoded)));
        }
    }
}
