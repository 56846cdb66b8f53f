//! The call as its handler sees it.

use std::{sync::Arc, time::Instant};

use super::{Peer, Session};
use crate::{clock::now, extensions::Extensions, limits::Limits};

/// A call, as its handler sees it.
///
/// If a method needs this value, it declares `call: &sockets::Call` as its first argument after
/// `&self`. It declares the argument in the trait and in its implementations. The caller does not
/// send this argument, and the method of the stub does not have this parameter.
#[derive(Clone, Debug)]
pub struct Call {
    peer: Peer,
    deadline: Instant,
    extensions: Extensions,
}

impl Call {
    pub(crate) fn new(peer: Peer, deadline: Instant) -> Self {
        Self { peer, deadline, extensions: Extensions::default() }
    }

    #[cfg(feature = "middleware")]
    pub(crate) fn with_extensions(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }

    /// Returns a call without a caller, for tests of a handler. Its [`peer`](Self::peer) is
    /// disconnected, and its deadline is 30 s from now.
    ///
    /// ```
    /// use sockets::Call;
    ///
    /// # struct Shop;
    /// # impl Shop {
    /// async fn visit(&self, call: &Call) -> bool {
    ///     call.peer().is_connected()
    /// }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert!(!Shop.visit(&Call::for_test()).await);
    /// # }
    /// ```
    pub fn for_test() -> Self {
        let limits = Arc::new(Limits::default());
        let deadline = now() + limits.call_timeout;
        Self::new(Peer::new(Session::ended(limits)), deadline)
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        self.peer.session()
    }

    /// Returns the caller, which can be called back.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the deadline of the handler. After the deadline, the handler is stopped at its next
    /// suspension.
    ///
    /// The deadline of a request is the time at which it was received, plus the timeout of the
    /// caller. An emit carries no timeout of the caller, so
    /// [`Limits::call_timeout`](crate::Limits::call_timeout) of the receiver applies instead.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the values that layers have added to the call. See [`layer`](crate::layer).
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}
