//! The layers of a user around calls and emits. Without the feature `middleware` there are none.

use crate::method::{Callee, Kind};
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use super::{ListenerService, Peer, Service, Session};
use crate::call_error::CallError;
use crate::codec::{self, Payload, decode_within};
use sockets_proto::clamp_timeout;

/// Sends a call or an emit. Returns the encoded reply. The reply of an emit is empty.
pub(crate) type SendFn<'a> = Box<dyn FnOnce() -> BoxFuture<'a, Result<Bytes, CallError>> + Send + 'a>;

/// The layers around handlers, and around outgoing calls.
pub(crate) trait Interceptor: Send + Sync {
    /// Wraps a group.
    fn service(&self, service: Arc<dyn Service>) -> Arc<dyn Service>;

    /// Wraps a listener.
    fn listen(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService>;

    /// Runs the outgoing layers. A layer may send the call or refuse it. Returns the encoded reply.
    /// The reply of an emit is empty.
    fn send<'a>(&'a self, outgoing: OutgoingCall<'a>) -> BoxFuture<'a, Result<Bytes, CallError>>;
}

/// A call or an emit that is about to be sent.
#[cfg_attr(not(feature = "middleware"), expect(dead_code, reason = "only layers read it"))]
pub(crate) struct OutgoingCall<'a> {
    pub(crate) callee: Callee<'a>,
    pub(crate) kind: Kind,
    /// The callee, or `None` for an audience.
    pub(crate) peer: Option<Peer>,
    /// The length of the encoded arguments.
    pub(crate) length: usize,
    pub(crate) send: SendFn<'a>,
}

impl Session {
    /// Makes a request as [`call`](Session::call) does, but through the outgoing layers. The
    /// timeout of the request includes the time that the layers take.
    pub(super) async fn call_intercepted<R: DeserializeOwned>(
        self: &Arc<Self>,
        interceptor: &dyn Interceptor,
        callee: Callee<'_>,
        timeout: Duration,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        let args = Bytes::from(codec::encode(args).map_err(|error| self.cannot_encode(callee, &error, args))?);
        let until = Instant::now() + clamp_timeout(timeout);
        let outgoing = OutgoingCall {
            callee,
            kind: Kind::Request,
            peer: Some(Peer::new(Arc::clone(self))),
            length: args.len(),
            send: Box::new(move || {
                Box::pin(async move {
                    let remaining = until.saturating_duration_since(Instant::now());
                    self.call_encoded(callee, remaining, &Payload::of(&args)).await
                })
            }),
        };
        let reply = timeout_at(until, interceptor.send(outgoing)).await.unwrap_or(Err(CallError::Timeout))?;
        decode_within(&reply, self.limits.max_decoded as usize)
            .map_err(|error| self.cannot_decode_reply::<R>(callee, &error))
    }

    /// Sends an emit through the layers. Otherwise it acts as [`emit`](Session::emit).
    pub(super) async fn emit_intercepted(
        self: &Arc<Self>,
        interceptor: &dyn Interceptor,
        callee: Callee<'_>,
        args: &(impl Serialize + ?Sized),
    ) -> Result<(), CallError> {
        let args = Bytes::from(codec::encode(args).map_err(|error| self.cannot_encode(callee, &error, args))?);
        let outgoing = OutgoingCall {
            callee,
            kind: Kind::Emit,
            peer: Some(Peer::new(Arc::clone(self))),
            length: args.len(),
            send: Box::new(move || {
                Box::pin(async move {
                    let payload = Payload::of(&args);
                    if !self.try_emit(callee, &payload, true)? {
                        self.emit_queued(callee, &payload).await?;
                    }
                    Ok(Bytes::new())
                })
            }),
        };
        interceptor.send(outgoing).await.map(drop)
    }
}
