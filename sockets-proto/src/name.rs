//! Paths, names, and the keys that address methods on the wire.

use sha2::{Digest, Sha256};

/// The maximum length of a segment of a path, and of a name, in bytes.
const SEGMENT_MAX: usize = 128;
/// The maximum length of a path in bytes.
const PATH_MAX: usize = 512;

/// A path or name that breaks the rules of the section "Keys" of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {name:?}: {rule}")]
pub struct InvalidName {
    name: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(name: &str, rule: &'static str) -> Self {
        // A peer may send a name of a megabyte, so the message quotes only its beginning.
        Self { name: name.chars().take(40).collect(), rule }
    }
}

/// Checks a single segment: the name of a method, or one component of a path.
///
/// # Errors
///
/// Returns the rule that the name breaks.
pub fn check_segment(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::new(name, "a segment must not be empty"));
    }
    if name.len() > SEGMENT_MAX {
        return Err(InvalidName::new(name, "a segment must have at most 128 bytes"));
    }
    if name.contains('/') {
        return Err(InvalidName::new(name, "a segment must not contain a slash"));
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidName::new(name, "control characters are not allowed"));
    }
    Ok(())
}

/// Checks a path of segments joined by `/`. The empty path is the root.
///
/// # Errors
///
/// Returns the rule that the name breaks.
pub fn check_path(path: &str) -> Result<(), InvalidName> {
    if path.len() > PATH_MAX {
        return Err(InvalidName::new(path, "a path must have at most 512 bytes"));
    }
    if path.is_empty() { Ok(()) } else { path.split('/').try_for_each(check_segment) }
}

/// Checks a room's name: a path that is not the root.
///
/// # Errors
///
/// Returns the rule that the name breaks.
pub fn check_room(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() { check_segment(name) } else { check_path(name) }
}

/// Returns a method's path and name, for messages.
pub fn full_name(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Returns the key of a method: the first eight bytes, as a little-endian number, of SHA-256 over
/// the path, a zero byte (which no valid name contains) and the method's name.
pub fn key(path: &str, name: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(path);
    hash.update([0]);
    hash.update(name);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_truncated_sha256_of_path_zero_and_name() {
        // printf 'Purchases\0buy' | sha256sum
        assert_eq!(key("Purchases", "buy"), 0x92cb_03c4_6c9c_4711);
        assert_ne!(key("a/b", "c"), key("a", "b/c"));
        assert_ne!(key("", "ab"), key("a", "b"));
    }

    #[test]
    fn names_beyond_limits_are_invalid() {
        assert!(check_segment(&"x".repeat(128)).is_ok());
        assert!(check_segment(&"x".repeat(129)).is_err());
        assert!(check_segment("a/b").is_err());
        assert!(check_segment("a\nb").is_err());
        assert!(check_path("").is_ok());
        assert!(check_path("a//b").is_err());
        assert!(check_path("/a").is_err());
        let long = vec!["x".repeat(127); 4].join("/");
        assert!(check_path(&long).is_ok());
        assert!(check_path(&format!("{long}/yy")).is_err());
        assert!(check_room("").is_err());
        assert!(check_room("match/42").is_ok());
    }
}
