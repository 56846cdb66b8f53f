//! The interfaces by which the dispatcher starts generated code and listeners.

use super::{HandlerSlot, Responder};
use crate::method::Method;

/// A served group. The macro implements it for `XServer<H>`.
pub trait Service: Send + Sync + 'static {
    /// Returns the path of the group.
    fn path(&self) -> &'static str;

    /// Returns the methods of the group.
    fn methods(&self) -> &'static [Method];

    /// Puts the future of the handler of this method into `slot`, without polling it.
    fn start(&self, key: u64, call: Responder, slot: &mut HandlerSlot);
}

/// A function that handles the calls of a name.
pub(crate) trait ListenerService: Send + Sync {
    /// Puts the future of the function into `slot`, without polling it.
    fn start(&self, call: Responder, slot: &mut HandlerSlot);
}
