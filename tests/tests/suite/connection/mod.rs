//! Connect and reconnect. The tests cover hooks, identities, refusals, delays, time limits and
//! admission.

mod admission;
mod authentication;
mod backoff;
mod builder;
mod cancellation;
mod connected_hook;
mod each_session;
mod errors;
mod identity;
mod info;
mod refusals;
mod socket_ids;
mod time_limits;
mod ways;

use std::time::Duration;

use sockets::{Client, ConnectError};

/// Returns `true` if the server has refused the client, but the client may try again immediately.
fn is_retry(outcome: &Result<Client, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::Refused(refusal)) if refusal.retry_after() == Some(Duration::ZERO))
}
