//! The rules for paths and names; the runtime checks dynamic ones by the same.

/// The longest segment of a path, and the longest name, in bytes.
const SEGMENT_MAX: usize = 128;
/// The longest path, in bytes.
const PATH_MAX: usize = 512;

/// Says what is wrong with a path, if anything is. The root, which is no path, is not for this function.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("an empty path; write `#[sockets::group]` for the root");
    }
    if path.len() > PATH_MAX {
        return Err("this path is too long; it has at most 512 bytes");
    }
    path.split('/').try_for_each(check_segment)
}

/// Says what is wrong with one segment of a path or a method's name, if anything is.
pub(crate) fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("an empty segment; write the names between single slashes, as in \"Purchases/Refunds\"");
    }
    if segment.len() > SEGMENT_MAX {
        return Err("this name is too long; a name, or a segment of a path, has at most 128 bytes");
    }
    if segment.chars().any(char::is_control) {
        return Err("a control character in a path; remove it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_at_their_limits() {
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
