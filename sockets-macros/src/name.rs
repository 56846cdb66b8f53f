//! The rules for paths and names, with error messages for the programmer.

pub(crate) mod rules;

use rules::BrokenRule;

/// Checks a path. Returns an error message if the path is invalid or empty. The empty path denotes
/// the root, which the user states by omitting the path.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("an empty path; write `#[sockets::group]` for the root");
    }
    rules::check_segments(path).map_err(message)
}

/// Checks a segment of a path, or the name of a method. Returns an error message if the segment or
/// name is invalid.
pub(crate) fn check_segment(segment: &str) -> Result<(), &'static str> {
    rules::check_segment(segment).map_err(message)
}

fn message(broken: BrokenRule) -> &'static str {
    match broken {
        BrokenRule::EmptySegment => {
            "an empty segment; write the names between single slashes, as in \"Purchases/Refunds\""
        }
        BrokenRule::LongSegment => "this name is too long; use at most 128 bytes for a name or a segment of a path",
        BrokenRule::SlashInSegment => "a name contains a slash; remove it",
        BrokenRule::ControlCharacter => "a path or name contains a control character; remove it",
        BrokenRule::LongPath => "this path is too long; use at most 512 bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_path_is_invalid() {
        assert!(check_path("").is_err());
        assert!(check_path("Purchases").is_ok());
    }
}
