//! A listener of a server that can be closed from another task.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    lock::Mutex,
    transport::{Acceptor, Incoming},
};

/// A listener that two owners can close. The server can close it independently of the task that
/// accepts its connections. If the runtime drops that task, the listener is closed, too.
pub(super) struct Listening(Mutex<Option<Acceptor>>);

/// The handle to a listener in the task that accepts its connections. Dropping the handle closes
/// the listener.
pub(super) struct Accepting(pub(super) Arc<Listening>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Listening {
    pub(super) fn new(acceptor: Acceptor) -> Self {
        Self(Mutex::new(Some(acceptor)))
    }

    /// Waits for the next connection. Returns `None` if the listener is closed.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Incoming>>> {
        match &*self.0.lock() {
            Some(acceptor) => acceptor.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        }
    }

    /// Closes the listener. The address is free when this method returns.
    pub(super) fn close(&self) {
        let acceptor = self.0.lock().take();
        drop(acceptor);
    }
}
