//! The bytes of a file, of which only the blocks that were ever written take memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

const BLOCK_BYTES: usize = 4096;

type Block = [u8; BLOCK_BYTES];

/// What is read where nothing was written.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Bytes that start as zeros. A clone shares its blocks until one side is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    length: usize,
    blocks: Vec<Option<Arc<Block>>>,
}

impl Content {
    pub(super) fn zeroed(length: usize) -> Self {
        Self { length, blocks: vec![None; length.div_ceil(BLOCK_BYTES)] }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Of the blocks that were written, and of where they are.
    pub(super) fn checksum(&self) -> u32 {
        let written = self.blocks.iter().enumerate();
        let written = written.filter_map(|(index, block)| Some((index, block.as_deref()?)));
        written.filter(|(_, block)| block.iter().any(|byte| *byte != 0)).fold(
            0,
            |checksum, (index, block)| {
                let checksum = crc32c::crc32c_append(checksum, &index.to_le_bytes());
                crc32c::crc32c_append(checksum, block)
            },
        )
    }

    /// The bytes from `offset` on; `None` if there are fewer.
    pub(super) fn read(&self, offset: usize, length: usize) -> Option<Bytes> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length)?;
        let touched = &self.blocks[offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)];
        if touched.iter().all(Option::is_none) && length <= ZEROS.len() {
            return Some(Bytes::from_static(&ZEROS[..length]));
        }
        let mut bytes = BytesMut::with_capacity(length);
        let mut at = offset;
        while at < end {
            let (index, start) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let taken = (BLOCK_BYTES - start).min(end - at);
            match &self.blocks[index] {
                Some(block) => bytes.extend_from_slice(&block[start..start + taken]),
                None => bytes.extend_from_slice(&ZEROS[..taken]),
            }
            at += taken;
        }
        Some(bytes.freeze())
    }

    /// Puts bytes somewhere; content that is too short grows.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.length {
            self.length = end;
            self.blocks.resize(end.div_ceil(BLOCK_BYTES), None);
        }
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (index, start) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let (part, after) = rest.split_at((BLOCK_BYTES - start).min(rest.len()));
            let block = self.blocks[index].get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
            Arc::make_mut(block)[start..start + part.len()].copy_from_slice(part);
            (at, rest) = (at + part.len(), after);
        }
    }
}

#[cfg(test)]
mod tests {
    use waltz_core::time::Random;

    use super::*;
    use crate::fault::below;

    #[test]
    fn it_reads_like_a_vector_whatever_was_written() {
        let random = &mut Random::new(3);
        let (mut content, mut model) = (Content::zeroed(20_000), vec![0_u8; 20_000]);
        for step in 0..500 {
            let (offset, length) = (below(random, 20_000), below(random, 9_000));
            let bytes = vec![step as u8; length];
            content.write(offset, &bytes);
            let end = offset + length;
            model.resize(model.len().max(end), 0);
            model[offset..end].copy_from_slice(&bytes);
            let (offset, length) = (below(random, 20_000), below(random, 20_000));
            let expected = model.get(offset..offset + length);
            assert_eq!(content.read(offset, length).as_deref(), expected);
            assert_eq!(content.len(), model.len());
        }
    }

    #[test]
    fn a_clone_does_not_see_what_is_written_later() {
        let mut content = Content::zeroed(8192);
        content.write(10, b"one");
        let before = content.clone();
        content.write(10, b"two");
        assert_eq!(before.read(10, 3).as_deref(), Some(&b"one"[..]));
        assert_eq!(content.read(10, 3).as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn the_checksum_depends_on_the_bytes_and_not_on_what_was_written_with_zeros() {
        let (mut one, mut other) = (Content::zeroed(16_384), Content::zeroed(16_384));
        one.write(5_000, b"x");
        other.write(100, &[0; 10]);
        assert_eq!(other.checksum(), Content::zeroed(16_384).checksum());
        assert_ne!(one.checksum(), other.checksum());
        other.write(5_000, b"x");
        assert_eq!(one.checksum(), other.checksum());
    }
}
