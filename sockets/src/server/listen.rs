//! Where a server listens.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Identity, Inner, Server,
    listening::{Accepting, Listening},
};
use crate::{address::Address, connect_error::BindError, lock::event, transport::Acceptor};

/// How long a listener waits when the system has no more sockets to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl<I: Identity> Server<I> {
    /// Listens at an address. It may be called more than once, also for addresses of several kinds: rooms and
    /// audiences span them.
    ///
    /// With `tcp://host:0` the system chooses the port, and [`local_addrs`](Self::local_addrs) tells. With
    /// `ws://host:port/path` WebSockets are at that path alone; without one, or with `/`, at all, and authentication may look
    /// at which. The file of a Unix socket at which nobody listens any more is replaced.
    ///
    /// # Errors
    ///
    /// If the address cannot be understood or listened at, what the builder was told to serve does not go together, or
    /// the server has been shut down.
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
            // Nothing else may close it.
            listening.close();
            return Err(BindError::ShutDown);
        }
        tokio::spawn(listen(Arc::clone(&self.inner), Accepting(listening)));
        Ok(())
    }
}

/// Takes connections until the server stops.
async fn listen<I: Identity>(server: Arc<Inner<I>>, accepting: Accepting) {
    let stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = poll_fn(|cx| accepting.0.poll_accept(cx)) => accepted,
        };
        let Some(accepted) = accepted else { return };
        let arrival = match accepted {
            Ok(arrival) => arrival,
            Err(error) => {
                let remedy = "raise the limit of open files, or lower `Limits::handshakes` and `connections`";
                event!(warn, %error, remedy, "a connection could not be accepted");
                server.limiter.evict_silent();
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        // Those behind it wait in the system's queue.
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            turn = server.limiter.acquire_handshake() => turn,
        };
        server.serve_in_background(arrival, turn);
    }
}
