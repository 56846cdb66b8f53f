//! A call that passes through the layers, and its response.

use bytes::Bytes;

use super::incoming::ReceivedCall;
use crate::{
    call_error::CallError,
    method::Kind,
    server::{Identity, Socket, WeakSocket},
    session::{Completed, Peer, SendFn},
};

/// A call or an emit that passes through the layers, to the handler or to the peer.
///
/// A service passes it to the next service or [denies](Self::deny) it. If it is dropped instead, a
/// received call fails as if its handler had been stopped, and a call to be sent is not sent.
#[must_use = "a request must be passed to the next service or denied"]
pub struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) method: &'a str,
    pub(super) kind: Kind,
    pub(super) peer: Option<Peer>,
    pub(super) length: usize,
    pub(super) direction: Direction<'a>,
}

pub(super) enum Direction<'a> {
    In(ReceivedCall),
    Out(SendFn<'a>),
}

/// The response to a [`Request`]. It is returned by the next service or by [`Request::deny`].
#[derive(Debug)]
#[must_use = "a response must be returned to the previous layer"]
pub struct Response(pub(super) ResponseState);

#[derive(Debug)]
pub(super) enum ResponseState {
    Handled(Result<Completed, Completed>),
    Sent(Result<Bytes, CallError>),
}

impl<'a> Request<'a> {
    /// Returns the path of the group. It is empty for names outside of any group.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the name of the method.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns `true` for an emit, which has no reply.
    pub fn is_emit(&self) -> bool {
        self.kind == Kind::Emit
    }

    /// Returns `true` if the local peer sends the call, and `false` if it received it.
    pub fn is_outgoing(&self) -> bool {
        matches!(self.direction, Direction::Out(_))
    }

    /// Returns the remote peer: the caller of a received call, or the callee of a sent call. It is
    /// `None` for an emit to an audience.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Returns the socket of the remote peer. It is `None` on a client, and on a server with an
    /// identity type other than `I`.
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.peer.as_ref()?.session().owner::<WeakSocket<I>>()?.upgrade()
    }

    /// Returns the size of the encoded arguments, in bytes.
    pub fn arguments_len(&self) -> usize {
        self.length
    }

    /// Denies the call: the caller's call fails with [`CallError::Denied`]. A received emit is
    /// dropped.
    pub fn deny(self) -> Response {
        Response(match self.direction {
            Direction::In(received) => ResponseState::Handled(Err(received.deny())),
            Direction::Out(_) => ResponseState::Sent(Err(CallError::Denied)),
        })
    }

    /// Passes the call to the handler or to the connection.
    pub(super) async fn finish(self) -> Response {
        Response(match self.direction {
            Direction::In(received) => ResponseState::Handled(received.run().await),
            Direction::Out(send) => ResponseState::Sent(send().await),
        })
    }
}

impl Response {
    /// Returns `true` if the call succeeded.
    ///
    /// For a request, the handler has completed, and its reply was encoded or received. The reply
    /// may be an error of the handler. For an emit, the handler has completed, or the emit was
    /// sent.
    pub fn is_ok(&self) -> bool {
        matches!(&self.0, ResponseState::Handled(Ok(_)) | ResponseState::Sent(Ok(_)))
    }

    /// Returns the error of a sent call. It is `None` for a received call: its error is sent to the
    /// caller.
    pub fn error(&self) -> Option<&CallError> {
        match &self.0 {
            ResponseState::Sent(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// Returns the result of a received call. A layer may have mixed up the responses of a received
    /// and a sent call, which ends both.
    pub(super) fn handled(self) -> Result<Completed, Completed> {
        match self.0 {
            ResponseState::Handled(ended) => ended,
            ResponseState::Sent(_) => Err(Completed::elsewhere()),
        }
    }

    /// Returns the result of a sent call.
    pub(super) fn sent(self) -> Result<Bytes, CallError> {
        match self.0 {
            ResponseState::Sent(sent) => sent,
            ResponseState::Handled(_) => Err(CallError::Denied),
        }
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("path", &self.path)
            .field("method", &self.method)
            .field("is_outgoing", &self.is_outgoing())
            .finish_non_exhaustive()
    }
}
