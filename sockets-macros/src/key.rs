//! The keys that identify methods on the wire.

use sha2::{Digest, Sha256};

/// Returns the key of a method: the first eight bytes, as a little-endian number, of SHA-256 over
/// the path, a zero byte and the method's name. No valid name contains a zero byte. The runtime
/// computes the keys of dynamic names in the same way.
pub(crate) fn key(path: &str, name: &str) -> u64 {
    first_eight(Sha256::new().chain_update(path).chain_update([0]).chain_update(name))
}

/// Returns the first eight bytes of a hash, as a little-endian number.
pub(crate) fn first_eight(hash: Sha256) -> u64 {
    let hash = hash.finalize();
    u64::from_le_bytes(std::array::from_fn(|i| hash[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_truncated_sha256_of_path_zero_and_name() {
        // printf 'Purchases\0buy' | sha256sum
        assert_eq!(key("Purchases", "buy"), 0x92cb_03c4_6c9c_4711);
        // printf '\0ping' | sha256sum
        assert_eq!(key("", "ping"), 0x6283_8662_dbfb_0234);
    }
}
