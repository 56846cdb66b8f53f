//! What a peer can do that ends its connection.

/// A breach of the protocol. The peer is told, and its connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    FrameTooLarge { length: usize, limit: usize },
    #[error("a frame is empty")]
    EmptyFrame,
    #[error("a frame has the unknown kind {0:#04x}")]
    UnknownKind(u8),
    #[error("a frame of kind {kind:#04x} is malformed: {what}")]
    Malformed { kind: u8, what: &'static str },
    #[error("more calls or bytes were sent than the window allows")]
    WindowOverrun,
    #[error("more was given back than had been sent")]
    CreditOverrun,
    #[error("a request was made under an id that is in flight")]
    DuplicateId,
    #[error("a position was acknowledged or skipped that cannot be")]
    Position,
    #[error("a frame of kind {0:#04x} came from the wrong side, or twice")]
    Unexpected(u8),
    #[cfg(feature = "ws")]
    #[error("the WebSocket was misused: {0}")]
    WebSocket(&'static str),
}
