//! What a user has put around calls and emits. Without the feature `middleware` there is nothing that could be.

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

/// Sends it; gives the reply's bytes, which an emit has none of.
pub(crate) type SendFn<'a> = Box<dyn FnOnce() -> BoxFuture<'a, Result<Bytes, CallError>> + Send + 'a>;

/// What is put around handlers, and around what is sent.
pub(crate) trait Interceptor: Send + Sync {
    fn service(&self, service: Arc<dyn Service>) -> Arc<dyn Service>;

    fn listen(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService>;

    /// Sends a call or an emit, or does not; gives the reply's bytes, which an emit has none of.
    fn send<'a>(&'a self, outgoing: OutgoingCall<'a>) -> BoxFuture<'a, Result<Bytes, CallError>>;
}

/// A call or an emit that is about to be sent.
#[cfg_attr(not(feature = "middleware"), expect(dead_code, reason = "layers look at it"))]
pub(crate) struct OutgoingCall<'a> {
    pub(crate) callee: Callee<'a>,
    pub(crate) kind: Kind,
    /// None is an audience.
    pub(crate) peer: Option<Peer>,
    /// How long its arguments are.
    pub(crate) length: usize,
    pub(crate) send: SendFn<'a>,
}

impl Session {
    /// As [`call`](Session::call), through what has been put around it, all within the timeout.
    pub(super) async fn call_intercepted<R: DeserializeOwned>(
        self: &Arc<Self>,
        around: &dyn Interceptor,
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
                    let left = until.saturating_duration_since(Instant::now());
                    self.call_encoded(callee, left, &Payload::of(&args)).await
                })
            }),
        };
        let reply = timeout_at(until, around.send(outgoing)).await.unwrap_or(Err(CallError::Timeout))?;
        decode_within(&reply, self.limits.max_decoded as usize)
            .map_err(|error| self.cannot_decode_reply::<R>(callee, &error))
    }

    /// As [`emit`](Session::emit), through what has been put around it.
    pub(super) async fn emit_intercepted(
        self: &Arc<Self>,
        around: &dyn Interceptor,
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
        around.send(outgoing).await.map(drop)
    }
}
