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

/// A listener. The server can close it independently of the task that accepts its connections. It
/// is also closed when that task is dropped with its runtime.
pub(super) struct Listening(Mutex<Option<Acceptor>>);

/// The handle of the task that accepts connections. Dropping it closes the listener.
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
