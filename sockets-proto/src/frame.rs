//! Frames. A frame consists of a type, a short header and a payload, which shares the received
//! bytes.

use bytes::{Buf, Bytes};

use super::{ProtocolError, announcement::ENTRY};

/// The length in bytes of the prefix before each frame. The prefix holds the frame's length as a
/// little-endian `u32`. That length does not include the prefix itself.
pub const PREFIX: usize = 4;

const EMIT: u8 = 0x01;
const REQUEST: u8 = 0x02;
const REPLY: u8 = 0x03;
const FAILURE: u8 = 0x04;
const CANCEL: u8 = 0x05;
const CREDIT: u8 = 0x06;
const READY: u8 = 0x07;
const GO_AWAY: u8 = 0x08;
const DRAINED: u8 = 0x09;
const CLOSE: u8 = 0x0a;
/// The first optional frame type. A peer ignores a frame with an unknown type from this number on,
/// so that later versions of the protocol can add types.
const FIRST_OPTIONAL: u8 = 0x80;
const SIGNATURES: u8 = FIRST_OPTIONAL;
const HEARTBEAT: u8 = 0x81;
const ACK: u8 = 0x82;
const SKIPPED: u8 = 0x83;

/// The id of a request. A request to an audience has an id from a separate range, so that all
/// members can receive the same frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The number, without the bit that marks shared requests.
    pub number: u64,
    /// `true` if the request was encoded once for several members of an audience.
    pub shared: bool,
}

impl CallId {
    fn to_wire(self) -> u64 {
        self.number << 1 | u64::from(self.shared)
    }

    fn from_wire(wire: u64) -> Self {
        Self { number: wire >> 1, shared: wire & 1 == 1 }
    }
}

/// A reason that is a single byte on the wire.
pub(crate) trait Code: Sized + 'static {
    /// All known codes.
    #[cfg(test)]
    const ALL: &[Self];

    /// Decodes a code, or returns `None` if it is unknown.
    fn from_wire(code: u8) -> Option<Self>;
}

/// Defines an enum of codes together with its decoding, so that the decoding cannot lack a code.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $code:ident = $number:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $code = $number,)*
        }

        impl Code for $name {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$code),*];

            fn from_wire(code: u8) -> Option<Self> {
                match code {
                    $($number => Some(Self::$code),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The reason for which a request failed.
    FailureCode {
        /// The callee does not serve the method.
        NoSuchMethod = 1,
        /// The types of the two peers differ.
        SignatureMismatch = 2,
        /// The arguments do not decode.
        Decode = 3,
        /// The reply could not be encoded.
        Encode = 4,
        /// The reply exceeds the frame limit of the caller.
        TooLarge = 5,
        /// The callee has no capacity.
        Overloaded = 6,
        /// The callee does not allow the call.
        Denied = 7,
        /// The callee accepts no new calls.
        ShuttingDown = 8,
        /// The handler panicked.
        Panicked = 9,
        /// The timeout elapsed.
        Timeout = 10,
        /// The caller cancelled the call, or the handler was stopped.
        Cancelled = 11,
        /// A layer of the callee failed. The text is the error.
        Failed = 12,
    }
}

codes! {
    /// The reason for which a peer closes the connection.
    CloseReason {
        /// The last handle was dropped.
        Closed = 1,
        /// The server's program disconnected the client. The text is the program's message.
        Kicked = 2,
        /// The server shuts down for good. The text is the program's message.
        ShuttingDown = 3,
        /// The peer that receives this frame broke the protocol. The text describes the error.
        ProtocolError = 4,
        /// The sender's write timeout has passed, because the receiver of this frame did not read.
        TooSlow = 5,
        /// The server's `connected` hook did not finish in time.
        NotReady = 6,
        /// The sender of this frame received nothing within its idle timeout.
        IdleTimeout = 7,
        /// The session continues on another connection. The server sends this reason only if the
        /// client supports resumption.
        Superseded = 8,
        /// The server shuts down and expects the client to reconnect. The text is the delay in
        /// milliseconds, optionally with the URL of another server.
        Restarting = 9,
        /// The server's `connected` hook refused the client, and the client does not try again. The
        /// text is the message for the user. The server sends this reason only to a client with the
        /// extension *retries*.
        Refused = 10,
        /// The server's `connected` hook refused the client for now, and the client may try again.
        /// The text contains the minimum delay in milliseconds and the message. The server sends
        /// this reason only to a client with the extension *retries*.
        Retry = 11,
    }
}

impl CloseReason {
    /// Returns `true` if the reason means that the server refuses the session. A server that
    /// refuses a session has not started any call of that session.
    pub(crate) fn refuses(self) -> bool {
        matches!(self, Self::NotReady | Self::Refused | Self::Retry)
    }
}

/// A frame without its payload. The payload, or the text of a `Failure` or `Close`, is stored in
/// the bytes after the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An emit.
    Emit {
        /// The key of the method.
        key: u64,
    },
    /// A request.
    Request {
        /// The id of the request.
        id: CallId,
        /// The timeout in milliseconds.
        timeout: u64,
        /// The key of the method.
        key: u64,
    },
    /// The reply to a request.
    Reply {
        /// The id of the request.
        id: CallId,
    },
    /// The failure of a request.
    Failure {
        /// The id of the request.
        id: CallId,
        /// The reason of the failure.
        code: FailureCode,
    },
    /// Cancels a request.
    Cancel {
        /// The id of the request.
        id: CallId,
    },
    /// Returns capacity of the window that ended emits used.
    Credit {
        /// The number of emits.
        calls: u32,
        /// The number of bytes.
        bytes: u64,
    },
    /// The server has finished its `connected` hook.
    Ready,
    /// The server accepts no new calls.
    GoAway,
    /// The client makes no new calls.
    Drained,
    /// Closes the connection.
    Close {
        /// The reason.
        reason: CloseReason,
    },
    /// Announces signatures of methods that the sender serves. The frame is optional.
    Signatures,
    /// Prevents an idle timeout of the receiver. The frame is optional.
    Heartbeat,
    /// Acknowledges all bytes up to a position. The frame is optional.
    Ack {
        /// The position, in bytes from the start of the session.
        position: u64,
    },
    /// Replaces frames that the sender does not retransmit. The receiver advances its position by
    /// the length of the replaced frames. The type of this frame is optional.
    Skipped {
        /// The number of bytes.
        bytes: u64,
    },
    /// An optional frame of an unknown type. A peer may receive this frame and never sends it.
    Unknown {
        /// The first byte of the frame.
        kind: u8,
    },
}

impl Frame {
    /// Returns `true` if the frame concerns only the current connection. The peers neither count
    /// nor retransmit such a frame.
    #[inline]
    pub(super) fn is_connection_scoped(&self) -> bool {
        matches!(self, Self::Heartbeat | Self::Ack { .. } | Self::Skipped { .. })
    }

    /// Reads the header of `frame`, which is a whole frame without its prefix. After the call,
    /// `frame` holds only the payload.
    ///
    /// # Errors
    ///
    /// Returns a protocol error if the header is malformed or its type is unknown.
    pub fn decode(frame: &mut Bytes) -> Result<Self, ProtocolError> {
        // The header is read from a slice, because `Bytes` itself would check the bounds and count
        // the position at each step.
        let mut rest = &frame[..];
        let decoded = Self::read(&mut rest)?;
        frame.advance(frame.len() - rest.len());
        Ok(decoded)
    }

    #[inline]
    fn read(frame: &mut &[u8]) -> Result<Self, ProtocolError> {
        let kind = frame.try_get_u8().map_err(|_| ProtocolError::EmptyFrame)?;
        let malformed = |what| ProtocolError::Malformed { kind, what };
        let id = |frame: &mut &[u8]| read_varint(frame).map(CallId::from_wire).ok_or(malformed("its id is invalid"));
        let key = |frame: &mut &[u8]| frame.try_get_u64_le().map_err(|_| malformed("its key is truncated"));
        let decoded = match kind {
            EMIT => return Ok(Self::Emit { key: key(frame)? }),
            REQUEST => {
                let id = id(frame)?;
                let timeout = read_varint(frame).ok_or(malformed("its timeout is invalid"))?;
                return Ok(Self::Request { id, timeout, key: key(frame)? });
            }
            REPLY => return Ok(Self::Reply { id: id(frame)? }),
            FAILURE => {
                let id = id(frame)?;
                let code = frame.try_get_u8().ok().and_then(FailureCode::from_wire);
                let code = code.ok_or(malformed("its code is unknown"))?;
                check_text(frame).ok_or(malformed("its text is not UTF-8"))?;
                return Ok(Self::Failure { id, code });
            }
            CLOSE => {
                let reason = frame.try_get_u8().ok().and_then(CloseReason::from_wire);
                let reason = reason.ok_or(malformed("its reason is unknown"))?;
                check_text(frame).ok_or(malformed("its text is not UTF-8"))?;
                return Ok(Self::Close { reason });
            }
            CANCEL => Self::Cancel { id: id(frame)? },
            CREDIT => {
                // An empty credit is an error. It has no use, but would restart the timers of
                // pending messages, so that a peer could delay these messages without end.
                let calls = read_varint(frame).and_then(|calls| u32::try_from(calls).ok()).filter(|calls| *calls > 0);
                let calls = calls.ok_or(malformed("its number of calls is invalid"))?;
                let bytes = read_varint(frame).ok_or(malformed("its number of bytes is invalid"))?;
                Self::Credit { calls, bytes }
            }
            READY => Self::Ready,
            GO_AWAY => Self::GoAway,
            DRAINED => Self::Drained,
            SIGNATURES if frame.len().is_multiple_of(ENTRY) => return Ok(Self::Signatures),
            SIGNATURES => return Err(malformed("its last signature is truncated")),
            HEARTBEAT => Self::Heartbeat,
            ACK => Self::Ack { position: read_varint(frame).ok_or(malformed("its position is invalid"))? },
            SKIPPED => Self::Skipped { bytes: read_varint(frame).ok_or(malformed("its number of bytes is invalid"))? },
            kind if kind > FIRST_OPTIONAL => return Ok(Self::Unknown { kind }),
            unknown => return Err(ProtocolError::UnknownKind(unknown)),
        };
        if frame.is_empty() { Ok(decoded) } else { Err(malformed("it has trailing bytes")) }
    }

    /// Encodes the header, including the type.
    #[inline]
    pub fn header(self) -> Header {
        let mut header = Header { bytes: [0; PREFIX + HEADER_MAX], end: PREFIX };
        match self {
            Self::Emit { key } => header.put(EMIT).put_all(&key.to_le_bytes()),
            Self::Request { id, timeout, key } => {
                header.put(REQUEST).put_varint(id.to_wire()).put_varint(timeout).put_all(&key.to_le_bytes())
            }
            Self::Reply { id } => header.put(REPLY).put_varint(id.to_wire()),
            Self::Failure { id, code } => header.put(FAILURE).put_varint(id.to_wire()).put(code as u8),
            Self::Cancel { id } => header.put(CANCEL).put_varint(id.to_wire()),
            Self::Credit { calls, bytes } => header.put(CREDIT).put_varint(calls.into()).put_varint(bytes),
            Self::Ready => header.put(READY),
            Self::GoAway => header.put(GO_AWAY),
            Self::Drained => header.put(DRAINED),
            Self::Close { reason } => header.put(CLOSE).put(reason as u8),
            Self::Signatures => header.put(SIGNATURES),
            Self::Heartbeat => header.put(HEARTBEAT),
            Self::Ack { position } => header.put(ACK).put_varint(position),
            Self::Skipped { bytes } => header.put(SKIPPED).put_varint(bytes),
            Self::Unknown { kind } => header.put(kind),
        };
        header
    }

    /// Returns the first byte of the frame, for error messages.
    pub fn kind(self) -> u8 {
        self.header().bytes[PREFIX]
    }
}

/// Length in bytes of the longest header, which is that of a request. The header of a request
/// consists of a type, an id, a timeout and a key.
pub(super) const HEADER_MAX: usize = 1 + 10 + 10 + 8;

/// The bytes of a header, without a heap allocation.
#[derive(Clone, Copy)]
pub struct Header {
    /// Space for the prefix, followed by the bytes of the header.
    bytes: [u8; PREFIX + HEADER_MAX],
    end: usize,
}

impl Header {
    #[inline]
    pub fn len(&self) -> usize {
        self.end - PREFIX
    }

    /// Returns the prefix and header of a frame with a payload of `payload` bytes.
    pub fn prefixed(&mut self, payload: usize) -> &[u8] {
        // The conversion cannot fail, because callers compare the length with `Limits::max_frame`,
        // a `u32`, before they build a frame.
        let length = u32::try_from(self.len() + payload).unwrap_or(u32::MAX);
        self.bytes[..PREFIX].copy_from_slice(&length.to_le_bytes());
        &self.bytes[..self.end]
    }

    #[inline]
    fn put(&mut self, byte: u8) -> &mut Self {
        self.put_all(&[byte])
    }

    #[inline]
    fn put_all(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
        self
    }

    #[inline]
    fn put_varint(&mut self, mut value: u64) -> &mut Self {
        loop {
            let [low, ..] = value.to_le_bytes();
            if value < 0x80 {
                return self.put(low);
            }
            self.put(low | 0x80);
            value >>= 7;
        }
    }
}

/// Removes the first frame from a batch of received bytes, and returns the frame without its length
/// prefix.
///
/// Returns `None` if the batch holds no complete frame.
#[inline]
pub fn next_frame(batch: &mut Bytes) -> Option<Bytes> {
    let length = frame_length(batch)?;
    if batch.len() < PREFIX + length {
        return None;
    }
    batch.advance(PREFIX);
    Some(batch.split_to(length))
}

/// Returns the length of the first frame in `bytes`, or `None` if the length prefix is incomplete.
pub fn frame_length(bytes: &[u8]) -> Option<usize> {
    let (prefix, _) = bytes.split_first_chunk::<PREFIX>()?;
    usize::try_from(u32::from_le_bytes(*prefix)).ok()
}

/// Returns the length of the first frame in `bytes` including its length prefix.
pub fn frame_with_prefix(bytes: &[u8]) -> Option<usize> {
    frame_length(bytes).map(|length| PREFIX + length)
}

/// Reads an unsigned LEB128 number of at most 64 bits.
#[inline]
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn check_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
