//! The rules for paths and names. The runtime applies the same rules to dynamic names.

/// The maximum length of a name, and of a segment of a path, in bytes.
const SEGMENT_MAX: usize = 128;
/// The maximum length of a path, in bytes.
const PATH_MAX: usize = 512;

/// Checks a path. The root has no path and must not be checked.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("an empty path; write `#[sockets::group]` for the root");
    }
    if path.len() > PATH_MAX {
        return Err("this path is too long; use at most 512 bytes");
    }
    path.split('/').try_for_each(check_segment)
}

/// Checks a segment of a path or the name of a method.
pub(crate) fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("an empty segment; write the names between single slashes, as in \"Purchases/Refunds\"");
    }
    if segment.len() > SEGMENT_MAX {
        return Err("this name is too long; use at most 128 bytes for a name or a segment of a path");
    }
    if segment.chars().any(char::is_control) {
        return Err("a path or name contains a control character; remove it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_limits_are_enforced() {
        assert!(check_path("Purchases").is_ok());
        assert!(check_path("Purchases/Zurück").is_ok());
        for bad in ["", "/", "a/", "/a", "a//b", "a\nb", "a\0b"] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&"x".repeat(128)).is_ok());
        assert!(check_path(&"x".repeat(129)).is_err());
        let long = vec!["x".repeat(127); 4].join("/");
        assert!(check_path(&format!("{long}y")).is_ok());
        assert!(check_path(&format!("{long}yy")).is_err());
    }
}
