//! The layers of a user around calls and emits. Without the feature `middleware` there are none.

use std::sync::Arc;

#[cfg(feature = "middleware")]
use {super::OutgoingCall, crate::call_error::CallError, bytes::Bytes, futures_util::future::BoxFuture};

use super::{GroupService, ListenerService};

/// The layers around handlers, and around outgoing calls.
pub(crate) trait Interceptor: Send + Sync {
    /// Wraps a group.
    fn service(&self, service: Arc<dyn GroupService>) -> Arc<dyn GroupService>;

    /// Wraps a listener.
    fn listen(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService>;

    /// Returns `true` if there are layers around outgoing calls.
    #[cfg(feature = "middleware")]
    fn wraps_outgoing(&self) -> bool;

    /// Runs the layers around an outgoing call, until the deadline of a request. Returns the
    /// encoded reply. The reply of an emit is empty.
    #[cfg(feature = "middleware")]
    fn send(&self, call: OutgoingCall) -> BoxFuture<'static, Result<Bytes, CallError>>;
}
