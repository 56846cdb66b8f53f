//! Functions that read HTTP fields.

use http::{HeaderMap, HeaderName};

/// Returns the elements of a list field. If a field has several lines, the lines together form a
/// single list (RFC 9110, 5.3).
pub(super) fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let elements = lines.flat_map(|line| line.split(',')).map(|element| element.trim_matches([' ', '\t']));
    elements.filter(|element| !element.is_empty())
}

/// Returns `true` if a list field has this element. The comparison ignores ASCII case.
pub(super) fn has(headers: &HeaderMap, name: HeaderName, element: &str) -> bool {
    elements(headers, name).any(|other| other.eq_ignore_ascii_case(element))
}

/// Returns the value of a field that is not a list. Returns `None` if the field is absent or
/// repeated, or if its value is not visible ASCII.
pub(super) fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).into_iter();
    let line = lines.next()?.to_str().ok()?;
    lines.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (header::CONNECTION, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn several_lines_form_one_list() {
        let lists: [&[_]; 3] =
            [&["keep-alive, Upgrade"], &["keep-alive", "Upgrade"], &[",keep-alive\t,", "", " ,Upgrade,"]];
        for lines in lists {
            let headers = headers(lines);
            assert_eq!(elements(&headers, header::CONNECTION).collect::<Vec<_>>(), ["keep-alive", "Upgrade"]);
            assert!(has(&headers, header::CONNECTION, "upgrade"));
            assert!(!has(&headers, header::CONNECTION, "keep"));
        }
    }

    #[test]
    fn repeated_field_is_not_single() {
        assert_eq!(single(&headers(&["value"]), header::CONNECTION), Some("value"));
        assert_eq!(single(&headers(&["value", "value"]), header::CONNECTION), None);
        assert_eq!(single(&headers(&[]), header::CONNECTION), None);
    }
}
