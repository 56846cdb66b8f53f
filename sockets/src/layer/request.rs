//! A call that passes through the layers, and its response.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tower::{BoxError, load_shed::error::Overloaded, timeout::error::Elapsed};

use crate::{
    call_error::CallError,
    extensions::Extensions,
    lock::event,
    method::{Kind, OwnedCallee},
    peer_label::PeerLabel,
    session::{
        Call, GroupService, HandlerSlot, LayeredResult, ListenerService, OutgoingCall, OutgoingTarget, Peer, Responder,
        SendEmit, Sending,
    },
};

use super::chain::NextFuture;
use sockets_proto::name::full_name;

/// A call or an emit that passes through the layers, to the handler or to the peer.
///
/// A service passes the request to the next service, or [denies](Self::deny) it.
#[must_use = "a request must be passed to the next service or denied"]
pub struct Request {
    pub(super) callee: OwnedCallee,
    kind: Kind,
    arguments: Bytes,
    deadline: Instant,
    extensions: Extensions,
    destination: Destination,
}

/// The destination of a request after the last layer.
enum Destination {
    /// The handler of a call from this peer.
    Handler(Peer, Handler),
    Peer(Peer),
    Audience(SendEmit),
}

/// The handler of a received call.
pub(super) enum Handler {
    Group(Arc<dyn GroupService>),
    Listener(Arc<dyn ListenerService>),
}

impl Request {
    /// Returns the request of a received call. The caller keeps the responder, which answers the
    /// call with the response.
    pub(super) fn received(callee: OwnedCallee, responder: &mut Responder, handler: Handler) -> Self {
        let call = responder.call();
        Self {
            callee,
            kind: responder.kind(),
            deadline: call.deadline(),
            extensions: Extensions::default(),
            destination: Destination::Handler(call.peer().clone(), handler),
            arguments: responder.take_arguments(),
        }
    }

    pub(super) fn outgoing(call: OutgoingCall) -> Self {
        let OutgoingCall { callee, kind, arguments, deadline, target } = call;
        let destination = match target {
            OutgoingTarget::Peer(peer) => Destination::Peer(peer),
            OutgoingTarget::Audience(send) => Destination::Audience(send),
        };
        Self { callee, kind, arguments, deadline, extensions: Extensions::default(), destination }
    }

    /// Returns the path of the group. The path is empty for names outside of any group.
    pub fn path(&self) -> &str {
        self.callee.names().0
    }

    /// Returns the name of the method.
    pub fn method(&self) -> &str {
        self.callee.names().1
    }

    /// Returns `true` for an emit, which has no reply.
    pub fn is_emit(&self) -> bool {
        self.kind == Kind::Emit
    }

    /// Returns `true` if the local peer sends the call. Returns `false` if the local peer has
    /// received the call.
    pub fn is_outgoing(&self) -> bool {
        !matches!(self.destination, Destination::Handler(..))
    }

    /// Returns the remote peer: the caller of a received call, or the callee of a sent call.
    /// Returns `None` for an emit to an audience.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.destination {
            Destination::Handler(peer, _) | Destination::Peer(peer) => Some(peer),
            Destination::Audience(_) => None,
        }
    }

    /// Returns the encoded arguments.
    pub fn arguments(&self) -> &Bytes {
        &self.arguments
    }

    /// Returns the size of the encoded arguments, in bytes.
    pub fn arguments_len(&self) -> usize {
        self.arguments.len()
    }

    /// Returns the deadline of the call: see [`Call::deadline`]. The deadline includes the time of
    /// the layers.
    ///
    /// An emit that is sent has no deadline. For such an emit, the method returns the time at which
    /// [`Limits::call_timeout`](crate::Limits::call_timeout) has passed since the emit was made.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the values that the outer layers have added.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns the values that accompany the call, to add values. The inner layers read them. The
    /// handler of a received call reads them by [`Call::extensions`].
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Denies the call. The caller's call fails with [`CallError::Denied`] and this message. If a
    /// received emit is denied, it is dropped.
    pub fn deny(self, message: impl Into<String>) -> Response {
        Response(Err(CallError::Denied(message.into())))
    }

    /// Passes the call to the handler or to the peer.
    pub(super) fn finish(self) -> NextFuture {
        let Self { callee, kind, arguments, deadline, extensions, destination } = self;
        let (peer, handler) = match destination {
            Destination::Handler(peer, handler) => (peer, handler),
            Destination::Peer(peer) => {
                return NextFuture::sending(Sending::new(&peer, callee, kind, arguments, deadline));
            }
            Destination::Audience(send) => return NextFuture::audience(send()),
        };
        let key = callee.key();
        let call = Call::new(peer, deadline).with_extensions(extensions);
        let (result, mut slot) = (LayeredResult::new(), HandlerSlot::default());
        let responder = Responder::layered(call, arguments, key, kind, result.clone());
        match handler {
            Handler::Group(service) => service.start(key, responder, &mut slot),
            Handler::Listener(listen) => listen.start(responder, &mut slot),
        }
        NextFuture::handler(slot.into_future(), result)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The output does not contain the arguments, which may be secret.
        f.debug_struct("Request")
            .field("path", &self.path())
            .field("method", &self.method())
            .field("is_outgoing", &self.is_outgoing())
            .finish_non_exhaustive()
    }
}

/// The response to a [`Request`]. The next service or [`Request::deny`] returns it.
#[derive(Debug)]
#[must_use = "a response must be returned to the previous layer"]
pub struct Response(pub(super) Result<Bytes, CallError>);

impl Response {
    /// Returns `true` if the call succeeded.
    ///
    /// If a request succeeded, its handler has completed. The reply may be an error of the handler.
    /// If an emit succeeded, its handler has completed, or the local peer has sent the emit.
    pub fn is_ok(&self) -> bool {
        self.0.is_ok()
    }

    /// Returns the encoded reply of a successful request. The reply of an emit is empty.
    pub fn reply(&self) -> Option<&Bytes> {
        self.0.as_ref().ok()
    }

    /// Returns the error of the call. An error that the handler returned is part of the reply
    /// instead.
    pub fn error(&self) -> Option<&CallError> {
        self.0.as_ref().err()
    }

    /// Returns the response for the error of a layer around the calls of this callee and peer.
    #[cold]
    pub(super) fn failed(callee: &OwnedCallee, peer: Option<PeerLabel>, error: BoxError) -> Self {
        let error = match error.downcast::<CallError>() {
            Ok(error) => *error,
            Err(error) if error.is::<Elapsed>() => CallError::Timeout,
            Err(error) if error.is::<Overloaded>() => CallError::Overloaded,
            Err(error) => {
                let (path, name) = callee.names();
                let peer = peer.map_or_else(|| "an audience".to_owned(), |peer| peer.to_string());
                event!(warn, method = full_name(path, name), %peer, %error, "a layer failed a call");
                CallError::Failed(error.to_string())
            }
        };
        Self(Err(error))
    }
}
