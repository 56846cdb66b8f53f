//! What generated code and dynamic listeners have in common: methods that can be started.

use super::{HandlerSlot, Responder};
use crate::method::Method;

/// A group that is served: what the macro implements for `XServer<H>`.
pub trait Service: Send + Sync + 'static {
    /// The group's path.
    fn path(&self) -> &'static str;

    /// The group's methods.
    fn methods(&self) -> &'static [Method];

    /// Puts the handler of the method with this key, ready to run, into its place.
    fn start(&self, key: u64, call: Responder, place: &mut HandlerSlot);
}

/// A function that listens to one name.
pub(crate) trait ListenerService: Send + Sync {
    /// Puts the function, ready to run, into its place.
    fn start(&self, call: Responder, place: &mut HandlerSlot);
}
