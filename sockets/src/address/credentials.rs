//! The user and the password of an address.

use std::fmt;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The user and the password for HTTP basic authentication (RFC 7617). The `Debug` output does not
/// contain them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// `user:password` in base64.
    encoded: String,
}

impl Credentials {
    /// Parses the part of an address before its `@`. Returns `None` if the percent-encoding is
    /// invalid, or if the user contains a colon. Also returns `None` for control characters, which
    /// RFC 7617 forbids.
    pub(super) fn parse(userinfo: &str) -> Option<Self> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (user, password) = (unescape(user)?, unescape(password)?);
        let is_allowed = |bytes: &[u8]| !bytes.iter().any(u8::is_ascii_control);
        if user.contains(&b':') || !is_allowed(&user) || !is_allowed(&password) {
            return None;
        }
        Some(Self { encoded: base64(&[&user[..], b":", &password].concat()) })
    }

    /// Returns the value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Basic {}", self.encoded)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Decodes percent-encoding.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_first_chunk::<2>()?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(16 * digit(digits[0])? + digit(digits[1])?);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

/// Encodes bytes in base64, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let group = first << 16 | second << 8 | third;
        for digit in 0..4 {
            let value = group >> (18 - 6 * digit) & 63;
            encoded.push(if digit <= chunk.len() { char::from(BASE64[value as usize]) } else { '=' });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_encodes_the_vectors_of_rfc_4648() {
        for (bytes, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn userinfo_is_unescaped() {
        let encoded = |userinfo| Credentials::parse(userinfo).map(|credentials| credentials.encoded);
        assert_eq!(encoded("user:p%40ss%3a%25"), Some(base64(b"user:p@ss:%")));
        assert_eq!(encoded("user"), Some(base64(b"user:")));
        assert_eq!(encoded("user:a:b"), Some(base64(b"user:a:b")));
        for wrong in ["us%3Aer:secret", "user:%", "user:%4", "user:%+1", "user:%0d%0a", "user:\u{7f}"] {
            assert_eq!(encoded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_password() {
        let shown = format!("{:?}", Credentials::parse("user:secret"));
        assert_eq!(shown, "Some(Credentials(***))");
    }
}
