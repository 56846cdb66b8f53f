//! Connecting, reconnecting and ending: identities, refusals, delays, addresses, time limits.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

mod backoff;
mod closing;
mod identity;
mod limits;
mod refusals;
mod remedies;
mod time_limits;

use std::time::Duration;

use sockets::{Client, ClientBuilder, Reconnect};
use tokio::time::timeout;

/// Returns a builder of a client that reconnects soon.
fn client() -> ClientBuilder {
    let soon = Reconnect::default().first_within(Duration::from_millis(5)).at_most_every(Duration::from_millis(50));
    Client::builder().reconnect(soon)
}

/// Awaits a future, and fails after ten seconds.
async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.expect("it hangs")
}
