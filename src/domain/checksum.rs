//! A checksum that is stable over versions and machines, which the standard hasher is not.

/// That of nothing: what every chain begins with.
pub const EMPTY_CHECKSUM: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits (draft-eastlake-fnv): tells texts apart that nobody made to be mistaken for
/// each other.
pub fn checksum(bytes: impl AsRef<[u8]>) -> u64 {
    checksum_with(EMPTY_CHECKSUM, bytes)
}

/// That of what `checksum` is of with `bytes` behind it.
pub fn checksum_with(checksum: u64, bytes: impl AsRef<[u8]>) -> u64 {
    bytes.as_ref().iter().fold(checksum, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::{checksum, checksum_with};

    #[test]
    fn it_is_that_of_the_published_vectors() {
        assert_eq!(checksum(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(checksum("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(checksum("foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(checksum_with(checksum("foo"), "bar"), checksum("foobar"));
    }
}
