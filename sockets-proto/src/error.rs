//! What a peer can do that ends its connection.

/// A breach of the protocol. The peer is told, and its connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame exceeds the limit that this side announced.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    FrameTooLarge {
        /// The length of the frame, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A frame has no bytes.
    #[error("a frame is empty")]
    EmptyFrame,
    /// A frame has a kind that is neither known nor optional.
    #[error("a frame has the unknown kind {0:#04x}")]
    UnknownKind(u8),
    /// A frame does not match its format.
    #[error("a frame of kind {kind:#04x} is malformed: {what}")]
    Malformed {
        /// The kind of the frame.
        kind: u8,
        /// The reason.
        what: &'static str,
    },
    /// The peer exceeded its send window.
    #[error("more calls or bytes were sent than the window allows")]
    WindowOverrun,
    /// The peer returned more window space than was used.
    #[error("more was given back than had been sent")]
    CreditOverrun,
    /// The peer sent a request under an id that is in flight.
    #[error("a request was made under an id that is in flight")]
    DuplicateId,
    /// The peer acknowledged or skipped an impossible position.
    #[error("a position was acknowledged or skipped that cannot be")]
    Position,
    /// A frame came from the wrong side, or a second time.
    #[error("a frame of kind {0:#04x} came from the wrong side, or twice")]
    Unexpected(u8),
    /// The peer violated RFC 6455.
    #[error("the WebSocket was misused: {0}")]
    WebSocket(&'static str),
}
