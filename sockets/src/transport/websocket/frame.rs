//! Encoding and decoding of WebSocket frames.

use std::io::Cursor;

use tungstenite::protocol::{
    Role,
    frame::{
        FrameHeader,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

/// The maximum length of the payload of a control frame.
pub(super) const CONTROL_MAX: usize = 125;
/// The maximum length of a header.
pub(super) const HEADER_MAX: usize = 14;

/// A peer's violation of RFC 6455 or of the subprotocol, and the close code for the violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WsProtocolError {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

impl WsProtocolError {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self { code: CloseCode::Protocol, reason }
    }
}

/// A frame with a received header.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameInProgress {
    pub(super) kind: Kind,
    pub(super) is_final: bool,
    /// The number of payload bytes that have not been received.
    pub(super) missing: usize,
    pub(super) mask: Mask,
}

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first frame of a binary message.
    Message,
    /// A further frame of a message.
    Continuation,
    Ping,
    Pong,
    Close,
}

impl Kind {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong | Self::Close)
    }
}

/// Reads the header of a frame that `role` receives. Returns the frame and the length of the
/// header. Returns `None` if the header is incomplete.
pub(super) fn parse(bytes: &[u8], role: Role) -> Result<Option<(FrameInProgress, usize)>, WsProtocolError> {
    let mut cursor = Cursor::new(bytes);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| WsProtocolError::new("a frame has a reserved opcode"))?;
    let Some((header, length)) = parsed else { return Ok(None) };
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(WsProtocolError::new("a frame sets a reserved bit without a negotiated extension"));
    }
    let mask = match (role, header.mask) {
        (Role::Server, Some(mask)) => Mask(mask),
        (Role::Client, None) => Mask::NONE,
        (Role::Server, None) => return Err(WsProtocolError::new("a frame of a client is not masked")),
        (Role::Client, Some(_)) => return Err(WsProtocolError::new("a frame of a server is masked")),
    };
    let kind = match header.opcode {
        OpCode::Data(Data::Continue) => Kind::Continuation,
        OpCode::Data(Data::Binary) => Kind::Message,
        OpCode::Data(Data::Text) => {
            return Err(WsProtocolError {
                code: CloseCode::Unsupported,
                reason: "a message is text; send binary messages",
            });
        }
        OpCode::Control(Control::Ping) => Kind::Ping,
        OpCode::Control(Control::Pong) => Kind::Pong,
        OpCode::Control(Control::Close) => Kind::Close,
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(WsProtocolError::new("a frame has a reserved opcode"));
        }
    };
    if !is_minimal(bytes, length) {
        return Err(WsProtocolError::new("a payload length is not encoded in the fewest bytes"));
    }
    let missing = usize::try_from(length).unwrap_or(usize::MAX);
    if kind.is_control() && (!header.is_final || missing > CONTROL_MAX) {
        return Err(WsProtocolError::new("a control frame is fragmented, or longer than 125 bytes"));
    }
    let read = usize::try_from(cursor.position()).unwrap_or(HEADER_MAX);
    Ok(Some((FrameInProgress { kind, is_final: header.is_final, missing, mask }, read)))
}

/// Returns `true` if a header encodes the length of its payload in the fewest bytes. RFC 6455, 5.2
/// requires this.
fn is_minimal(header: &[u8], length: u64) -> bool {
    match header.get(1).map(|second| second & 0x7f) {
        Some(126) => length >= 126,
        Some(127) => length > u64::from(u16::MAX),
        _ => true,
    }
}

/// Returns the header of an unfragmented binary message.
pub(super) fn message(length: usize, mask: Option<Mask>) -> Header {
    Header::new(OpCode::Data(Data::Binary), length, mask)
}

/// Appends a control frame.
pub(super) fn push_control(kind: Control, payload: &[u8], mask: Option<Mask>, out: &mut Vec<u8>) {
    out.extend_from_slice(Header::new(OpCode::Control(kind), payload.len(), mask).as_slice());
    let start = out.len();
    out.extend_from_slice(payload);
    mask.unwrap_or(Mask::NONE).apply(&mut out[start..]);
}

/// An encoded header.
pub(super) struct Header {
    bytes: [u8; HEADER_MAX],
    length: usize,
}

impl Header {
    fn new(opcode: OpCode, length: usize, mask: Option<Mask>) -> Self {
        let header = FrameHeader { opcode, mask: mask.map(|mask| mask.0), ..FrameHeader::default() };
        let mut bytes = [0; HEADER_MAX];
        let mut unused = &mut bytes[..];
        // Any header fits into `HEADER_MAX` bytes.
        let _ = header.format(length as u64, &mut unused);
        let length = HEADER_MAX - unused.len();
        Self { bytes, length }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The masking key of a frame. The key is stored rotated: it begins with the byte that masks the
/// next byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    /// The key that leaves bytes unchanged.
    pub(super) const NONE: Self = Self([0; 4]);

    /// Returns a random key, as RFC 6455, 5.3 requires.
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Masks or unmasks the next bytes of a frame.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        if *self == Self::NONE {
            return;
        }
        let key = u32::from_ne_bytes(self.0);
        let mut words = bytes.chunks_exact_mut(4);
        for chunk in &mut words {
            if let Some(chunk) = chunk.first_chunk_mut::<4>() {
                *chunk = (u32::from_ne_bytes(*chunk) ^ key).to_ne_bytes();
            }
        }
        let rest = words.into_remainder();
        rest.iter_mut().zip(self.0).for_each(|(byte, mask)| *byte ^= mask);
        let rest = rest.len();
        self.0.rotate_left(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_continues_after_a_partial_payload() {
        let plain: Vec<u8> = (0..23).collect();
        let mask = Mask([1, 2, 3, 200]);
        let mut whole = plain.clone();
        mask.clone().apply(&mut whole);
        assert!(whole.iter().zip(&plain).enumerate().all(|(at, (masked, byte))| masked ^ byte == mask.0[at % 4]));
        for split in 0..plain.len() {
            let (mut parts, mut mask) = (plain.clone(), mask);
            mask.apply(&mut parts[..split]);
            mask.apply(&mut parts[split..]);
            assert_eq!(parts, whole, "in two parts, the first with {split} bytes");
        }
    }

    #[test]
    fn parse_rejects_lengths_that_are_not_minimal() {
        let cases: [&[u8]; 5] = [
            &[0x82, 126, 0, 125],
            &[0x8a, 126, 0, 0],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0x02, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x00, 126, 0, 0],
        ];
        for bytes in cases {
            assert_eq!(parse(&bytes[..bytes.len() - 1], Role::Client).map(|parsed| parsed.is_none()), Ok(true));
            let error = parse(bytes, Role::Client).unwrap_err();
            assert!(error.reason.contains("fewest bytes"), "{bytes:?}: {error:?}");
            assert_eq!(error.code, CloseCode::Protocol);
        }
        for bytes in [&[0x82, 126, 0, 126][..], &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], &[0x82, 0]] {
            assert!(parse(bytes, Role::Client).unwrap().is_some(), "{bytes:?}");
        }
    }

    #[test]
    fn parsed_header_equals_encoded_header() {
        for length in [0, 125, 126, 65_535, 65_536, 1 << 22] {
            for (role, mask) in [(Role::Client, None), (Role::Server, Some(Mask([9, 8, 7, 6])))] {
                let header = message(length, mask);
                let bytes = header.as_slice();
                let (frame, read) = parse(bytes, role).unwrap().unwrap();
                assert_eq!((frame.kind, frame.missing, read), (Kind::Message, length, bytes.len()));
                assert_eq!(frame.mask, mask.unwrap_or(Mask::NONE));
                for cut in 0..bytes.len() {
                    assert!(parse(&bytes[..cut], role).unwrap().is_none(), "cut at {cut}");
                }
            }
        }
    }
}
