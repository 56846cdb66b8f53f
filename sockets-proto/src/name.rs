//! Paths, names, and the keys that address methods on the wire.

mod rules;

use rules::BrokenRule;

/// The error for a path or name that breaks the rules of the protocol. The section "Names and keys"
/// of `PROTOCOL.md` lists the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {name:?}: {rule}")]
pub struct InvalidName {
    name: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(name: &str, broken: BrokenRule) -> Self {
        let rule = match broken {
            BrokenRule::EmptySegment => "a segment must not be empty",
            BrokenRule::LongSegment => "a segment must have at most 128 bytes",
            BrokenRule::SlashInSegment => "a segment must not contain a slash",
            BrokenRule::ControlCharacter => "control characters are not allowed",
            BrokenRule::LongPath => "a path must have at most 512 bytes",
        };
        // The error contains only the beginning of the name, because a peer may send a name of a
        // megabyte.
        Self { name: name.chars().take(40).collect(), rule }
    }

    /// Returns the name, or its first 40 characters.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Checks a single segment: the name of a method, or a component of a path.
///
/// # Errors
///
/// Returns the rule that the name breaks.
pub fn check_segment(name: &str) -> Result<(), InvalidName> {
    rules::check_segment(name).map_err(|broken| InvalidName::new(name, broken))
}

/// Checks a path of segments joined by `/`. The empty path is the root.
///
/// # Errors
///
/// Returns the rule that the path breaks.
pub fn check_path(path: &str) -> Result<(), InvalidName> {
    if path.is_empty() { Ok(()) } else { check_room(path) }
}

/// Checks a room's name: a path that is not the root.
///
/// # Errors
///
/// Returns the rule that the name breaks.
pub fn check_room(name: &str) -> Result<(), InvalidName> {
    rules::check_segments(name).map_err(|broken| InvalidName::new(name, broken))
}

/// Returns a method's path and name, for messages.
pub fn full_name(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Returns the key of a method. The key consists of the first eight bytes of a SHA-256 hash, read
/// as a little-endian number. The hash covers the path, a zero byte and the method's name. No valid
/// name contains a zero byte.
pub fn key(path: &str, name: &str) -> u64 {
    rules::method_key(path, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_a_path_and_no_room() {
        assert!(check_path("").is_ok());
        assert!(check_room("").is_err());
        assert!(check_room("match/42").is_ok());
    }

    #[test]
    fn error_quotes_beginning_of_name() {
        let error = check_segment(&"x".repeat(1 << 20)).unwrap_err().to_string();
        assert!(error.len() < 120, "{error}");
    }
}
