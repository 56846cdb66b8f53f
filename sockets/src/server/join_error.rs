//! The error of a room that a socket cannot join.

use sockets_proto::name::InvalidName;

use crate::{lock::event, refusal::Refusal};

/// The error of [`Socket::join`](crate::Socket::join).
///
/// In a `connected` hook, `?` converts the error into a [`Refusal::retry`]. The refusal does not
/// contain the error, which may name internals of the server. The server logs the error instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The name of the room is empty, too long, or contains control characters.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The socket is in as many rooms as
    /// [`Limits::rooms_per_socket`](crate::Limits::rooms_per_socket) allows.
    #[error("the socket is in {limit} rooms; leave one of them, or raise `Limits::rooms_per_socket`")]
    TooManyRooms {
        /// The maximum number of rooms of a socket.
        limit: u32,
    },
    /// The session of the socket has ended.
    #[error("the session of the socket has ended")]
    Disconnected,
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        event!(warn, %error, "a hook could not add a socket to a room");
        Self::retry("the server failed to prepare the session")
    }
}
