//! The handle of a session.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Described, EmitFuture, Registration, Session};
#[cfg(feature = "middleware")]
use crate::method::Kind;
use crate::{
    call_error::CallError,
    clock::now,
    codec::{self, Payload},
    handler_context::HookContext,
    method::Callee,
    peer_methods::peer_methods,
};
use sockets_proto::clamp_timeout;

/// The remote endpoint of a session, which can call and be called.
///
/// A [`Client`](crate::Client) and a [`Socket`](crate::Socket) have the methods of this type, and
/// return their peer by `as_peer`. A peer is a handle. Its clones refer to the same session, and do
/// not keep the session open.
#[derive(Clone)]
pub struct Peer {
    session: Arc<Session>,
    /// The peer prepares a new session: its calls are not held, and its subscribers belong to that
    /// session.
    prepares: bool,
}

impl Peer {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, prepares: false }
    }

    pub(crate) fn as_peer(&self) -> &Self {
        self
    }

    /// Returns the peer of a hook that prepares a new session.
    pub(crate) fn preparing(session: Arc<Session>) -> Self {
        Self { session, prepares: true }
    }

    /// Makes a request and waits for its reply. If `timeout` is `None`, the timeout is
    /// [`Limits::call_timeout`](crate::Limits::call_timeout).
    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        callee: Callee<'_>,
        timeout: Option<Duration>,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        let session = &self.session;
        let mut timeout = timeout.unwrap_or(session.limits.call_timeout);
        #[cfg(feature = "middleware")]
        if let Some(interceptor) = session.outgoing_interceptor.as_deref() {
            let sending = session.send_through(interceptor, callee, Kind::Request, timeout, args)?;
            return session.decode_reply(callee, &self.in_context(sending).await?);
        }
        loop {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let request = |payload: &Payload<'_>| {
                let _context = self.context();
                Session::request(&**session, callee, timeout, payload, waker)
            };
            let waiting = match codec::with_scratch(args, request) {
                // A hook does not wait, since it runs again in the session with the next server.
                Ok(Err(CallError::ShuttingDown)) if !self.prepares => {
                    let deadline = now() + clamp_timeout(timeout);
                    Box::pin(session.until_next_server(deadline)).await?;
                    timeout = deadline.saturating_duration_since(now());
                    continue;
                }
                Ok(waiting) => waiting?,
                Err(error) => return Err(session.cannot_encode(callee, &error, args)),
            };
            let deadline = waiting.deadline;
            let result = waiting.await;
            if !session.may_repeat(callee, &result) {
                let reply = CallError::from_call_result(result, session, || Described::new(callee).name())?;
                return session.decode_reply(callee, &reply);
            }
            timeout = deadline.saturating_duration_since(now());
        }
    }

    /// Sends an emit. The returned future does not refer to `args`.
    pub(crate) fn emit_to<'a, A: Serialize + ?Sized>(&'a self, callee: Callee<'a>, args: &A) -> EmitFuture<'a> {
        let _context = self.context();
        let emit = self.session.emit(callee, args);
        if self.prepares { EmitFuture::Waiting(Box::pin(self.in_context(emit))) } else { emit }
    }

    /// Lets the messages that are sent on this thread prepare the session, if this peer does.
    fn context(&self) -> Option<HookContext> {
        self.prepares.then(|| HookContext::enter(&self.session))
    }

    /// Polls a future in the [`context`](Self::context) of this peer.
    async fn in_context<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        poll_fn(|cx| {
            let _context = self.context();
            Pin::new(&mut future).poll(cx)
        })
        .await
    }

    /// Records a new subscriber, if it belongs to the current session of a client.
    pub(crate) fn added(&self, registration: impl FnOnce() -> Registration) {
        if self.prepares {
            self.session.add_temporary(registration());
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    peer_methods!();
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
