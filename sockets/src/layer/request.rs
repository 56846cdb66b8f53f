//! A call that passes through the layers, and its response.

use bytes::Bytes;

use super::incoming::ReceivedCall;
use crate::{
    call_error::CallError,
    method::Kind,
    session::{Completed, Peer, SendFn},
};

/// A call or an emit that passes through the layers, to the handler or to the peer.
///
/// A service passes the request to the next service, or [denies](Self::deny) it. If a service drops
/// the request of a received call, the call fails as if its handler had been stopped. If a service
/// drops the request of a call to be sent, the call is not sent.
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

/// The response to a [`Request`]. The next service or [`Request::deny`] returns it.
#[derive(Debug)]
#[must_use = "a response must be returned to the previous layer"]
pub struct Response(pub(super) ResponseState);

#[derive(Debug)]
pub(super) enum ResponseState {
    Handled(Result<Completed, Completed>),
    Sent(Result<Bytes, CallError>),
}

impl<'a> Request<'a> {
    /// Returns the path of the group. The path is empty for names outside of any group.
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

    /// Returns `true` if the local peer sends the call. Returns `false` if the local peer has
    /// received the call.
    pub fn is_outgoing(&self) -> bool {
        matches!(self.direction, Direction::Out(_))
    }

    /// Returns the remote peer: the caller of a received call, or the callee of a sent call.
    /// Returns `None` for an emit to an audience.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Returns the size of the encoded arguments, in bytes.
    pub fn arguments_len(&self) -> usize {
        self.length
    }

    /// Denies the call. The caller's call fails with [`CallError::Denied`]. If a received emit is
    /// denied, it is dropped.
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
    /// If a request succeeded, the handler has completed, and the local peer has encoded or
    /// received its reply. The reply may be an error of the handler. If an emit succeeded, the
    /// handler has completed, or the local peer has sent the emit.
    pub fn is_ok(&self) -> bool {
        matches!(&self.0, ResponseState::Handled(Ok(_)) | ResponseState::Sent(Ok(_)))
    }

    /// Returns the error of a sent call. Returns `None` for a received call, since its error is
    /// sent to the caller.
    pub fn error(&self) -> Option<&CallError> {
        match &self.0 {
            ResponseState::Sent(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// Returns the result of a received call. A layer may by mistake exchange the responses of a
    /// received call and of a sent call. In this case, both calls fail.
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
