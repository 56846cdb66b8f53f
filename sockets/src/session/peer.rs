//! The handle of a session.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use futures_util::future::Either;
use serde::{Serialize, de::DeserializeOwned};

use super::{Registration, Session};
use crate::{call_error::CallError, handler_context::run_hook, method::Callee, peer_methods::peer_methods};

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

    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        callee: Callee<'_>,
        timeout: Option<Duration>,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        let call = self.session.call(callee, timeout, args);
        if self.prepares { Box::pin(in_hook(&self.session, call)).await } else { call.await }
    }

    /// Sends an emit. The returned future does not refer to `args`.
    pub(crate) fn emit_to<'a, A: Serialize + ?Sized>(
        &'a self,
        callee: Callee<'a>,
        args: &A,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<'a, A> {
        let begin = || self.session.emit(callee, args);
        let emit = if self.prepares { run_hook(&self.session, begin) } else { begin() };
        if self.prepares { Either::Left(Box::pin(in_hook(&self.session, emit))) } else { Either::Right(emit) }
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

/// Runs a future as a hook of this session.
async fn in_hook<F: Future>(session: &Arc<Session>, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| run_hook(session, || future.as_mut().poll(cx))).await
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
