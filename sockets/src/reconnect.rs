//! A client that comes back when its connection has broken.

use sockets_proto::Token;
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    connect_error::ConnectError,
    disconnect_reason::DisconnectReason,
    driver::{Found, Recovery, Search},
    handshake::{self, Claim, Resumption},
    limits::Limits,
    session::Session,
    transport::{Address, ClientOptions, open},
};

/// How a client comes back when its connection has broken. By default it tries again until it succeeds: the first time after a
/// random part of 100 ms, the next times after random parts of times that double, up to 10 s. So clients that a server has
/// lost at once do not come back at once.
///
/// ```
/// use std::time::Duration;
/// use sockets::{Client, Reconnect};
///
/// let patient = Client::builder().reconnect(Reconnect::default().at_most_every(Duration::from_secs(60)));
/// let impatient = Client::builder().reconnect(Reconnect::never());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10), attempts: u32::MAX }
    }
}

impl Reconnect {
    /// The first break is the end.
    pub fn never() -> Self {
        Self { attempts: 0, ..Self::default() }
    }

    /// The longest time before the first attempt. Default: 100 ms.
    pub fn first_within(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// The longest time between two attempts. Default: 10 s.
    pub fn at_most_every(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Gives up after so many attempts in a row. By default, it does not.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    pub(crate) fn is_never(&self) -> bool {
        self.attempts == 0
    }

    /// How long to wait before an attempt, of which the first is number 1. `part` is a random number from 0 to 1.
    fn delay(&self, attempt: u32, part: f64) -> Duration {
        let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest).mul_f64(part)
    }
}

/// How a client stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// It is connected.
    Connected {
        /// Which session this is: 1 for the first. A session goes on over any number of connections, and nothing is lost
        /// then. When it could not go on, the next number says that the client has started anew: what was under way has
        /// failed, what was on its way may be lost, and the server knows this client's groups, and nothing else of it.
        session: u64,
    },
    /// The connection has broken, and the client tries to come back.
    Reconnecting {
        /// Which attempt this is, of those in a row; 0 while it waits for a server that is going to be there again, or another.
        attempt: u32,
        /// Why the connection has ended.
        reason: DisconnectReason,
        /// Why the attempt before this one has failed, in words: what [`ConnectError`] says.
        error: Option<String>,
    },
    /// It is over.
    Ended(DisconnectReason),
}

/// How a client's state changes: see [`Client::states`](crate::Client::states).
pub struct StateChanges {
    next: ReusableBoxFuture<'static, (Watching, Option<ClientState>)>,
}

struct Watching {
    states: watch::Receiver<ClientState>,
    session: Arc<Session>,
    ended: bool,
}

impl Watching {
    async fn next(mut self) -> (Self, Option<ClientState>) {
        if self.ended {
            return (self, None);
        }
        tokio::select! {
            biased;
            // It fails where nobody changes it.
            Ok(()) = self.states.changed() => {
                let state = self.states.borrow_and_update().clone();
                (self, Some(state))
            }
            reason = { let session = Arc::clone(&self.session); async move { session.disconnected().await } } => {
                self.ended = true;
                (self, Some(ClientState::Ended(reason)))
            }
        }
    }
}

impl StateChanges {
    pub(crate) fn new(states: watch::Receiver<ClientState>, session: Arc<Session>) -> Self {
        Self { next: ReusableBoxFuture::new(Watching { states, session, ended: false }.next()) }
    }

    /// The next state. Those that have come and gone meanwhile are passed over; the last is [`ClientState::Ended`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn next(&mut self) -> Option<ClientState> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for StateChanges {
    type Item = ClientState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientState>> {
        let (watching, state) = std::task::ready!(self.next.poll(cx));
        self.next.set(watching.next());
        Poll::Ready(state)
    }
}

impl std::fmt::Debug for StateChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateChanges").finish_non_exhaustive()
    }
}

/// Makes a login, encoded.
pub(crate) type Login =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<u8>, ConnectError>> + Send>> + Send + Sync>;

/// Knows the way back to the server.
pub(crate) struct WayBack {
    options: ClientOptions,
    limits: Arc<Limits>,
    login: Login,
    policy: Reconnect,
    states: watch::Sender<ClientState>,
    ticket: Mutex<Ticket>,
}

/// With what it goes on.
struct Ticket {
    token: Token,
    /// Which session it is of.
    session: u64,
    /// Where the server is.
    address: Address,
    /// Where it has said that the next one is.
    redirected: Option<Address>,
}

impl WayBack {
    pub(crate) fn new(
        address: Address,
        options: ClientOptions,
        limits: Arc<Limits>,
        login: Login,
        policy: Reconnect,
        token: Token,
        states: watch::Sender<ClientState>,
    ) -> Self {
        let ticket = Ticket { token, session: 1, address, redirected: None };
        Self { options, limits, login, policy, states, ticket: Mutex::new(ticket) }
    }
}

impl Recovery for WayBack {
    fn search(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> Search {
        Box::pin(async move {
            let positions = session.positions();
            let tries = |attempt, error| ClientState::Reconnecting { attempt, reason: reason.clone(), error };
            let mut last = None;
            if let DisconnectReason::Restarting { after, at } = &reason {
                self.states.send_replace(tries(0, None));
                if let Some(url) = at {
                    self.ticket.lock().redirect(url);
                }
                sleep(*after).await;
            }
            for attempt in 1..=self.policy.attempts {
                self.states.send_replace(tries(attempt, last.take()));
                sleep(self.policy.delay(attempt, part())).await;
                match self.attempt(attempt, positions).await {
                    Ok(found) => return Ok(found),
                    Err(error) => {
                        tracing::debug!(%error, attempt, "an attempt to reconnect has failed");
                        let is_final = matches!(error, ConnectError::Version { .. } | ConnectError::Login(_));
                        last = Some(error.to_string());
                        if is_final {
                            break;
                        }
                    }
                }
            }
            Err(last.map_or(reason, |error| DisconnectReason::Lost(format!("it could not reconnect: {error}"))))
        })
    }

    fn taken_up(&self) {
        // Not before: who sees it may say something at once.
        self.states.send_replace(ClientState::Connected { session: self.ticket.lock().session });
    }
}

impl Ticket {
    /// The server is followed by another one. Not over another transport: that might be less safe.
    fn redirect(&mut self, url: &str) {
        match Address::parse(url) {
            Ok(address) if address.is_like(&self.address) => self.redirected = Some(address),
            _ => tracing::warn!(url, "the server has named another one, whose address is of no use here"),
        }
    }

    /// Where to try: by turns where the server has said, if it has, and where it was.
    fn address(&self, attempt: u32) -> Address {
        self.redirected.as_ref().filter(|_| attempt % 2 == 1).unwrap_or(&self.address).clone()
    }
}

impl WayBack {
    async fn attempt(&self, attempt: u32, (received, kept): (u64, u64)) -> Result<Found, ConnectError> {
        let (token, address) = {
            let ticket = self.ticket.lock();
            (ticket.token.clone(), ticket.address(attempt))
        };
        let resumption = Some(Resumption::GoOn(Claim { token, received, kept }));
        let patience = self.limits.authentication;
        // Before the server waits for it. It is the program's, and its panic must not be this task's.
        let login = AssertUnwindSafe(async { (self.login)().await }).catch_unwind();
        let login = timeout(patience, login).await.map_err(|_| late())?;
        let login = login.map_err(|_| ConnectError::Login("what makes it has panicked".into()))??;
        let mut link = open(address.clone(), &self.options, &self.limits).await?;
        let greeting = handshake::greet(&mut link, &self.limits, &self.options.compression, login, resumption);
        let (theirs, granted) = timeout(patience, greeting).await.map_err(|_| late())??;
        let Some(granted) = granted else {
            return Err(ConnectError::Handshake("the server does not know resumption any more".into()));
        };
        let link = self.options.compression.around(link, theirs.compresses);
        let mut ticket = self.ticket.lock();
        (ticket.token, ticket.address, ticket.redirected) = (granted.token, address, None);
        let found = match granted.received {
            Some(position) => Found::Again(link, position),
            None => {
                ticket.session += 1;
                Found::Anew(link, theirs)
            }
        };
        Ok(found)
    }
}

fn late() -> ConnectError {
    ConnectError::Unreachable(std::io::ErrorKind::TimedOut.into())
}

/// A random number from 0 to 1.
fn part() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Between 0 and a time that doubles, up to a longest one.
        #[test]
        fn delays_are_random_parts_of_times_that_double(
            first in 1..1000_u64, longest in 1..100_000_u64, attempt in 1..=u32::MAX, part in 0.0..=1.0,
        ) {
            let policy = Reconnect::default()
                .first_within(Duration::from_millis(first))
                .at_most_every(Duration::from_millis(longest));
            let most = first.saturating_mul(1 << u64::from(attempt - 1).min(20)).min(longest);
            let delay = policy.delay(attempt, part);
            prop_assert!(delay <= Duration::from_millis(most));
            prop_assert_eq!(policy.delay(attempt, 1.0), Duration::from_millis(most));
            prop_assert_eq!(delay, policy.delay(attempt, 1.0).mul_f64(part));
        }
    }
}
