//! The listeners of a server.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

use super::Inner;

use crate::{
    identity::Identity,
    lock::{Mutex, event},
    transport::{Acceptor, Incoming},
};

/// Delay before the next attempt to accept a connection, if the system has failed to accept one.
/// For example, the system has no file descriptor left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A listener that two owners can close: the server, and the task that accepts the listener's
/// connections. The server closes the listener when it stops. The task closes the listener when it
/// ends, or when the runtime drops the task.
pub(super) struct Listening(Mutex<Option<Acceptor>>);

/// The handle to a listener in the task that accepts its connections. Dropping the handle closes
/// the listener.
pub(super) struct ListeningGuard(pub(super) Arc<Listening>);

impl Drop for ListeningGuard {
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

/// Accepts connections until the server stops.
pub(super) async fn listen<I: Identity>(server: Arc<Inner<I>>, guard: ListeningGuard) {
    let stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = poll_fn(|cx| guard.0.poll_accept(cx)) => accepted,
        };
        let Some(accepted) = accepted else { return };
        let incoming = match accepted {
            Ok(incoming) => incoming,
            Err(error) => {
                let remedy = "raise the limit of open files, or lower `Limits::handshakes` and `connections`";
                event!(warn, %error, remedy, "a connection could not be accepted");
                server.limiter.evict_silent();
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        // Without a permit, further connections wait in the system's queue.
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            permit = server.limiter.acquire_handshake() => permit,
        };
        server.serve_in_background(incoming, permit);
    }
}
