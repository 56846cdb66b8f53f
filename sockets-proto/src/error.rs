//! Protocol errors.

/// A breach of the protocol by the peer. The local session sends the reason to the peer and ends
/// the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame exceeds the limit that was announced to the peer.
    #[error("a frame of {length} bytes exceeds the limit of {limit} bytes")]
    FrameTooLarge {
        /// The length of the frame, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A frame has no bytes.
    #[error("a frame is empty")]
    EmptyFrame,
    /// A frame has a type that is neither known nor optional.
    #[error("unknown frame type {0:#04x}")]
    UnknownKind(u8),
    /// A frame does not match its format.
    #[error("malformed frame of type {kind:#04x}: {what}")]
    Malformed {
        /// The type of the frame.
        kind: u8,
        /// The reason.
        what: &'static str,
    },
    /// The peer exceeded its send window.
    #[error("calls or bytes exceed the flow-control window")]
    WindowOverrun,
    /// The peer returned more capacity of the window than its emits in flight use.
    #[error("a credit exceeds the emits in flight")]
    CreditOverrun,
    /// The peer sent a request under an id that is in flight.
    #[error("a request uses an id that is in flight")]
    DuplicateId,
    /// The peer acknowledged or skipped an impossible position.
    #[error("an acknowledged or skipped position is out of range")]
    Position,
    /// A frame is not allowed for the sender's role, or was sent a second time.
    #[error("a frame of type {0:#04x} is repeated or not allowed for the sender")]
    Unexpected(u8),
    /// The peer violated RFC 6455.
    #[error("WebSocket protocol error: {0}")]
    WebSocket(&'static str),
}
