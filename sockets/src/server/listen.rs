//! Listening on addresses.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Inner, Server,
    listening::{Accepting, Listening},
};
use crate::{address::Address, authenticator::Identity, connect_error::BindError, lock::event, transport::Acceptor};

/// The delay after the system has failed to accept a connection, for example because it has no file
/// descriptor left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl<I: Identity> Server<I> {
    /// Listens on an address. The method can be called several times, with addresses of different
    /// transports. Rooms and audiences include the clients of all addresses.
    ///
    /// - With `tcp://host:0`, the system chooses the port. [`local_addrs`](Self::local_addrs)
    ///   returns the address with this port.
    /// - With `ws://host:port/path`, the server accepts WebSockets at that path only. Without a
    ///   path, or with `/`, the server accepts them at every path, and the authentication can check
    ///   the path.
    /// - With `unix:///path`, the server replaces the file of a Unix socket if no process listens
    ///   on it any more.
    ///
    /// # Errors
    ///
    /// The method fails if the address is invalid, or if the system refuses to listen on the
    /// address. It also fails if groups of the builder conflict, or if the server has been shut
    /// down. See [`BindError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the server does not listen on the address.
    pub async fn bind(&self, url: &str) -> Result<(), BindError> {
        self.inner.registration.clone()?;
        if self.inner.registry.read().is_closed() {
            return Err(BindError::ShutDown);
        }
        let address = Address::to_listen(url)?;
        let acceptor = Acceptor::bind(address, &self.inner.options, &self.inner.limits)
            .await
            .map_err(|error| BindError::Listen { address: url.to_owned(), error })?;
        if let Some(local_addr) = acceptor.local_addr() {
            self.inner.local_addrs.lock().push(local_addr);
        }
        let listening = Arc::new(Listening::new(acceptor));
        self.inner.listeners.lock().push(Arc::clone(&listening));
        if self.inner.stop.is_cancelled() {
            // `shutdown` has closed the other listeners already.
            listening.close();
            return Err(BindError::ShutDown);
        }
        tokio::spawn(listen(Arc::clone(&self.inner), Accepting(listening)));
        Ok(())
    }
}

/// Accepts connections until the server stops.
async fn listen<I: Identity>(server: Arc<Inner<I>>, accepting: Accepting) {
    let stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = poll_fn(|cx| accepting.0.poll_accept(cx)) => accepted,
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
