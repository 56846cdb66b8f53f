//! Calls and emits that layers enclose when the local peer sends them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Described, Peer, Session, call_future::CallFuture, interceptor::Interceptor};
use crate::{
    call_error::CallError,
    clock::now,
    codec::{self, Payload},
    method::{Callee, Kind, OwnedCallee},
};
use sockets_proto::clamp_timeout;

/// A call or an emit that is about to be sent.
pub(crate) struct OutgoingCall {
    pub(crate) callee: OwnedCallee,
    pub(crate) kind: Kind,
    /// The encoded arguments.
    pub(crate) arguments: Bytes,
    /// The deadline of a request. For an emit, the limit for its handler.
    pub(crate) deadline: Instant,
    pub(crate) target: OutgoingTarget,
}

/// The receivers of a call.
pub(crate) enum OutgoingTarget {
    Peer(Peer),
    /// An audience, with a function that sends the emit.
    Audience(SendEmit),
}

/// Sends an emit to an audience.
pub(crate) type SendEmit = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), CallError>> + Send + Sync>;

impl Session {
    /// Passes a call or an emit to the layers around outgoing calls. The timeout of a request
    /// includes the time that the layers take.
    pub(super) fn send_through(
        self: &Arc<Self>,
        interceptor: &dyn Interceptor,
        callee: Callee<'_>,
        kind: Kind,
        timeout: Duration,
        args: &(impl Serialize + ?Sized),
    ) -> Result<BoxFuture<'static, Result<Bytes, CallError>>, CallError> {
        let arguments = codec::encode_shared(args).map_err(|error| self.cannot_encode(callee, &error, args))?;
        Ok(interceptor.send(OutgoingCall {
            callee: callee.into(),
            kind,
            arguments,
            deadline: now() + clamp_timeout(timeout),
            target: OutgoingTarget::Peer(Peer::new(Arc::clone(self))),
        }))
    }
}

/// The future of a call or an emit that has passed the layers. If it is dropped, the session
/// cancels the call.
pub(crate) struct Sending {
    session: Arc<Session>,
    callee: OwnedCallee,
    arguments: Bytes,
    state: SendState,
}

enum SendState {
    /// A request that has not been sent, with its deadline.
    Request(Instant),
    SentRequest(CallFuture<Arc<Session>>),
    /// A request that waits for the next server, because the server is shutting down.
    HeldRequest(BoxFuture<'static, Result<Instant, CallError>>),
    Emit,
    /// An emit that waits for capacity.
    QueuedEmit(BoxFuture<'static, Result<(), CallError>>),
}

impl Sending {
    pub(crate) fn new(peer: &Peer, callee: OwnedCallee, kind: Kind, arguments: Bytes, deadline: Instant) -> Self {
        let state = match kind {
            Kind::Request => SendState::Request(deadline),
            Kind::Emit => SendState::Emit,
        };
        Self { session: Arc::clone(peer.session()), callee, arguments, state }
    }
}

impl Future for Sending {
    type Output = Result<Bytes, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { session, callee: owned, arguments, state } = self.get_mut();
        let mut storage = None;
        let callee = owned.borrow(&mut storage);
        loop {
            match state {
                SendState::Request(deadline) => {
                    let (timeout, payload) = (deadline.saturating_duration_since(now()), Payload::of(arguments));
                    let (session, waker) = (Arc::clone(session), cx.waker().clone());
                    *state = match Session::request(Arc::clone(&session), callee, timeout, &payload, waker) {
                        Err(CallError::ShuttingDown) => {
                            let deadline = *deadline;
                            SendState::HeldRequest(Box::pin(async move {
                                session.until_next_server(deadline).await.map(|()| deadline)
                            }))
                        }
                        sent => SendState::SentRequest(sent?),
                    };
                }
                SendState::HeldRequest(held) => *state = SendState::Request(ready!(held.as_mut().poll(cx))?),
                SendState::SentRequest(sent) => {
                    let result = ready!(Pin::new(&mut *sent).poll(cx));
                    if !session.may_repeat(callee, &result) {
                        return Poll::Ready(CallError::from_call_result(result, session, || {
                            Described::new(callee).name()
                        }));
                    }
                    *state = SendState::Request(sent.deadline);
                }
                SendState::Emit => {
                    if session.try_emit(callee, &Payload::of(arguments), true)? {
                        return Poll::Ready(Ok(Bytes::new()));
                    }
                    let (session, owned, arguments) = (Arc::clone(session), owned.clone(), arguments.clone());
                    *state = SendState::QueuedEmit(Box::pin(async move {
                        let mut storage = None;
                        let callee = owned.borrow(&mut storage);
                        session.emit_queued(callee, &Payload::of(&arguments)).await
                    }));
                }
                SendState::QueuedEmit(queued) => {
                    return Poll::Ready(ready!(queued.as_mut().poll(cx)).map(|()| Bytes::new()));
                }
            }
        }
    }
}
