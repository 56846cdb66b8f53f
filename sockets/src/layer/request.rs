//! A call on its way through the layers, and what has come of it.

use bytes::Bytes;

use super::incoming::ReceivedCall;
use crate::{
    call_error::CallError,
    method::Kind,
    server::{Identity, Socket, WeakSocket},
    session::{Completed, Peer, SendFn},
};

/// A call or an emit on its way, either in, to its handler, or out, to the other side.
///
/// It is passed on to the next service, or [denied](Self::deny). Dropped instead, a call that has come in is answered as
/// one whose handler was stopped, and one that was to be sent is not.
#[must_use = "pass it on, or deny it"]
pub struct Request<'a> {
    pub(super) path: &'a str,
    pub(super) method: &'a str,
    pub(super) kind: Kind,
    pub(super) peer: Option<Peer>,
    pub(super) length: usize,
    pub(super) way: Direction<'a>,
}

pub(super) enum Direction<'a> {
    In(ReceivedCall),
    Out(SendFn<'a>),
}

/// What has come of a [`Request`]: only the rest of its way, or its [denial](Request::deny), gives one.
#[derive(Debug)]
#[must_use = "give it back to the layer before"]
pub struct Response(pub(super) ResponseState);

#[derive(Debug)]
pub(super) enum ResponseState {
    Handled(Result<Completed, Completed>),
    Sent(Result<Bytes, CallError>),
}

impl<'a> Request<'a> {
    /// The path of the group. It is empty for names that are in no group.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The method's name.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Whether nobody waits for an answer.
    pub fn is_emit(&self) -> bool {
        self.kind == Kind::Emit
    }

    /// Whether this side makes the call, rather than the other.
    pub fn is_outgoing(&self) -> bool {
        matches!(self.way, Direction::Out(_))
    }

    /// The other side: who calls, or who is called. There is none for an emit to an audience.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// On a server whose sockets have identities of this type, the socket of the other side.
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.peer.as_ref()?.session().owner::<WeakSocket<I>>()?.upgrade()
    }

    /// How many bytes the arguments are, encoded.
    pub fn arguments_len(&self) -> usize {
        self.length
    }

    /// Ends it here: its caller gets [`CallError::Denied`], and an emit that has come in is dropped.
    pub fn deny(self) -> Response {
        Response(match self.way {
            Direction::In(arrived) => ResponseState::Handled(Err(arrived.deny())),
            Direction::Out(_) => ResponseState::Sent(Err(CallError::Denied)),
        })
    }

    /// Goes to where it is going: the handler, or the connection.
    pub(super) async fn finish(self) -> Response {
        Response(match self.way {
            Direction::In(arrived) => ResponseState::Handled(arrived.run().await),
            Direction::Out(send) => ResponseState::Sent(send().await),
        })
    }
}

impl Response {
    /// Whether it has gone well: a handler has run to its end, and its reply, which may be an error of its own, has been
    /// encoded, or has come from the other side; an emit has been sent.
    pub fn is_ok(&self) -> bool {
        matches!(&self.0, ResponseState::Handled(Ok(_)) | ResponseState::Sent(Ok(_)))
    }

    /// Why a call or an emit of this side has failed. Of one that has come in, its caller is told.
    pub fn error(&self) -> Option<&CallError> {
        match &self.0 {
            ResponseState::Sent(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// What it is for a call that came in. A layer may have mixed up two, which then have ended both.
    pub(super) fn handled(self) -> Result<Completed, Completed> {
        match self.0 {
            ResponseState::Handled(ended) => ended,
            ResponseState::Sent(_) => Err(Completed::elsewhere()),
        }
    }

    /// What it is for a call of this side.
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
