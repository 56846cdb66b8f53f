//! Detection of peers that use another protocol or scheme, so that an error can name the protocol
//! of the peer.

use std::fmt::{self, Display};

use sockets_proto::handshake::MAGIC;

/// A protocol that differs from the protocol of the local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    Http,
    Tls,
    /// The protocol of this library without WebSocket.
    Frames,
}

impl Foreign {
    /// The number of bytes that suffice to detect a protocol.
    #[cfg(feature = "ws")]
    pub(crate) const DETECTION_LENGTH: usize = 8;

    /// Detects a protocol by its first bytes.
    pub(crate) fn detect(first: &[u8]) -> Option<Self> {
        if first.get(4..8) == Some(&MAGIC) {
            return Some(Self::Frames);
        }
        let [first, second, third, fourth] = *first.first_chunk()?;
        let is_http_start = |byte: u8| byte.is_ascii_uppercase() || byte == b' ';
        match first {
            // A TLS alert or handshake record.
            0x15 | 0x16 if second == 3 => Some(Self::Tls),
            b'A'..=b'Z' if [second, third, fourth].into_iter().all(is_http_start) => Some(Self::Http),
            _ => None,
        }
    }

    /// Detects a protocol by the first bytes of a connection, which were read as the length of a
    /// frame.
    pub(crate) fn from_length(length: usize) -> Option<Self> {
        u32::try_from(length).ok().and_then(|length| Self::detect(&length.to_le_bytes()))
    }
}

impl Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self {
            Self::Http => "HTTP, as for `ws://` and `wss://`",
            Self::Tls => "TLS, as for `tls://` and `wss://`",
            Self::Frames => "this protocol without WebSocket, as for `tcp://` and `tls://`",
        };
        write!(f, "the peer uses {protocol}; use the same scheme for client and server")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_detected_by_their_first_bytes() {
        let cases: [(&[u8], Option<Foreign>); 9] = [
            (b"GET / HTTP/1.1", Some(Foreign::Http)),
            (b"PRI * HTTP/2.0", Some(Foreign::Http)),
            (b"HTTP/1.1 400", Some(Foreign::Http)),
            (&[0x16, 3, 1, 2, 0, 1], Some(Foreign::Tls)),
            (&[0x15, 3, 3, 0, 2, 2], Some(Foreign::Tls)),
            (b"\x45\0\0\0SKTS\x01", Some(Foreign::Frames)),
            (b"\x45\0\0\0", None),
            (b"SSH-2.0", None),
            (b"GE", None),
        ];
        for (first, expected) in cases {
            assert_eq!(Foreign::detect(first), expected, "{first:?}");
        }
        let http = u32::from_le_bytes(*b"GET ");
        assert_eq!(Foreign::from_length(http as usize), Some(Foreign::Http));
        assert_eq!(Foreign::from_length(usize::MAX), None);
    }
}
