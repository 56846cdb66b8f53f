//! The settings of a shutdown.

use std::time::Duration;

use crate::{
    address::{Address, without_userinfo},
    disconnect_reason::DisconnectReason,
    refusal::Refusal,
};
use sockets_proto::clamp_timeout;

/// The time over which clients reconnect, unless [`Shutdown::spread`] sets another time.
const SPREAD: Duration = Duration::from_secs(5);

/// The way in which a server shuts down, for
/// [`Server::shutdown_with`](crate::Server::shutdown_with).
///
/// ```
/// use std::time::Duration;
/// use sockets::{Server, Shutdown};
///
/// # async fn example(server: Server) {
/// let shutdown = Shutdown::new().grace(Duration::from_secs(2)).redirect("tcp://next.example:7000");
/// server.shutdown_with(shutdown).await;
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "pass it to `Server::shutdown_with`"]
pub struct Shutdown {
    grace: Option<Duration>,
    spread: Option<Duration>,
    redirect: Option<String>,
    for_good: Option<String>,
}

impl Shutdown {
    /// Returns the settings of [`Server::shutdown`](crate::Server::shutdown).
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time that calls in flight, and clients that do not respond, may take. Default:
    /// [`Limits::shutdown_grace`](crate::Limits::shutdown_grace).
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace: Some(grace), ..self }
    }

    /// Sets the time over which clients reconnect. Default: 5 s.
    ///
    /// Each client waits for a different random part of this time, so that the next server does not
    /// receive all clients at once.
    pub fn spread(self, spread: Duration) -> Self {
        Self { spread: Some(spread), ..self }
    }

    /// Sets the address to which clients reconnect. Default: the address of each client.
    ///
    /// Only clients that are connected over the same transport (`tcp://` and so on) reconnect to
    /// `url`, with their logins. They alternate between `url` and their own address until a server
    /// accepts them. A user and a password in `url` are removed: clients send the user and password
    /// of their own address.
    ///
    /// # Panics
    ///
    /// Panics if the address is invalid.
    #[track_caller]
    pub fn redirect(self, url: &str) -> Self {
        if let Err(error) = Address::parse(url) {
            panic!("{error}");
        }
        Self { redirect: Some(without_userinfo(url)), ..self }
    }

    /// Ends the sessions for good: clients do not reconnect.
    ///
    /// Their [`DisconnectReason::message`] is `words`. If a client connects while the server
    /// drains, the server refuses the client with the same message.
    pub fn for_good(self, words: impl Into<String>) -> Self {
        Self { for_good: Some(words.into()), ..self }
    }

    pub(super) fn grace_or(&self, default: Duration) -> Duration {
        self.grace.unwrap_or(default)
    }

    /// Returns the delay after which a client reconnects. `fraction` is a number from 0 to 1.
    pub(super) fn delay(&self, fraction: f64) -> Duration {
        clamp_timeout(self.spread.unwrap_or(SPREAD)).mul_f64(fraction)
    }

    /// Returns the reason with which the sessions end.
    pub(super) fn reason(&self) -> DisconnectReason {
        match &self.for_good {
            Some(words) => {
                let words = Some(words.clone()).filter(|words| !words.is_empty());
                DisconnectReason::ShuttingDown { words, comes_back: false, redirect: None }
            }
            None => DisconnectReason::restarting(self.redirect.clone()),
        }
    }
}

/// Returns the refusal of a client that connects while the server shuts down for this reason.
pub(super) fn refusal(reason: &DisconnectReason) -> Refusal {
    match reason {
        DisconnectReason::ShuttingDown { words, comes_back: false, .. } => {
            Refusal::new(words.as_deref().unwrap_or("the server has been shut down"))
        }
        _ => Refusal::retry("the server is shutting down"),
    }
}
