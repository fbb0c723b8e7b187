//! A hash that never changes: locks and the partitions of keys are named by it, for ever.

/// 64 bits of FNV-1a (Fowler, Noll and Vo) over the bytes, through the finalizer of SplitMix64 (Steele,
/// Lea and Flood). The same on all machines and in all versions. Not for input that an adversary picks:
/// collisions are easy to make.
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_always_was() {
        let hashes = ["", "a", "account"].map(|text| stable_hash(text.bytes()));
        assert_eq!(hashes, [0xf52a_15e9_a9b5_e89b, 0x02c0_bdbf_4814_20f8, 0x1bd9_57dd_771d_6ae4]);
    }
}
