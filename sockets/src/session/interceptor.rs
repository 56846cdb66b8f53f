//! The layers of a user around calls and emits. Without the feature `middleware` there are none.

use crate::method::{Callee, Kind};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{ListenerService, Peer, Service};
use crate::call_error::CallError;

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
