//! The rules for paths and names, and the keys of methods.
//!
//! `sockets-proto` and `sockets-macros` contain identical copies of this file, so that
//! `sockets-macros` need not depend on `sockets-proto`. With this dependency, each release build
//! would compile the protocol and its dependencies a second time, only for the macros. A test in
//! `sockets-macros` compares the copies.

use sha2::{Digest, Sha256};

/// The maximum length in bytes of a name, and of a segment of a path.
const MAX_SEGMENT: usize = 128;
/// The maximum length of a path in bytes.
const MAX_PATH: usize = 512;

/// A rule that a path or name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokenRule {
    EmptySegment,
    LongSegment,
    SlashInSegment,
    ControlCharacter,
    LongPath,
}

/// Checks a single segment: the name of a method, or a component of a path.
pub(crate) fn check_segment(segment: &str) -> Result<(), BrokenRule> {
    if segment.is_empty() {
        return Err(BrokenRule::EmptySegment);
    }
    if segment.len() > MAX_SEGMENT {
        return Err(BrokenRule::LongSegment);
    }
    if segment.contains('/') {
        return Err(BrokenRule::SlashInSegment);
    }
    if segment.chars().any(char::is_control) {
        return Err(BrokenRule::ControlCharacter);
    }
    Ok(())
}

/// Checks a path that is not empty.
pub(crate) fn check_segments(path: &str) -> Result<(), BrokenRule> {
    if path.len() > MAX_PATH {
        return Err(BrokenRule::LongPath);
    }
    path.split('/').try_for_each(check_segment)
}

/// Returns the key of a method. The key consists of the first eight bytes of a SHA-256 hash. The
/// hash covers the path, a zero byte and the method's name. No valid name contains a zero byte.
pub(crate) fn method_key(path: &str, name: &str) -> u64 {
    first_eight_bytes(Sha256::new().chain_update(path).chain_update([0]).chain_update(name))
}

/// Returns the first eight bytes of a hash as a little-endian number.
pub(crate) fn first_eight_bytes(hash: Sha256) -> u64 {
    let hash = hash.finalize();
    u64::from_le_bytes(std::array::from_fn(|i| hash[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_truncated_sha256_of_path_zero_and_name() {
        // printf 'Purchases\0buy' | sha256sum
        assert_eq!(method_key("Purchases", "buy"), 0x92cb_03c4_6c9c_4711);
        // printf '\0ping' | sha256sum
        assert_eq!(method_key("", "ping"), 0x6283_8662_dbfb_0234);
        assert_ne!(method_key("a/b", "c"), method_key("a", "b/c"));
        assert_ne!(method_key("", "ab"), method_key("a", "b"));
    }

    #[test]
    fn names_beyond_limits_break_rules() {
        assert_eq!(check_segment(""), Err(BrokenRule::EmptySegment));
        assert_eq!(check_segment(&"x".repeat(128)), Ok(()));
        assert_eq!(check_segment(&"x".repeat(129)), Err(BrokenRule::LongSegment));
        assert_eq!(check_segment("a/b"), Err(BrokenRule::SlashInSegment));
        assert_eq!(check_segment("a\nb"), Err(BrokenRule::ControlCharacter));
        for path in ["Purchases", "Purchases/Zurück", "match/42"] {
            assert_eq!(check_segments(path), Ok(()));
        }
        for path in ["", "/", "a/", "/a", "a//b"] {
            assert_eq!(check_segments(path), Err(BrokenRule::EmptySegment), "{path:?}");
        }
        for path in ["a\nb", "a\0b"] {
            assert_eq!(check_segments(path), Err(BrokenRule::ControlCharacter), "{path:?}");
        }
        let long = vec!["x".repeat(127); 4].join("/");
        assert_eq!(check_segments(&format!("{long}y")), Ok(()));
        assert_eq!(check_segments(&format!("{long}yy")), Err(BrokenRule::LongPath));
    }
}
