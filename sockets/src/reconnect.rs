//! A client that comes back when its connection has broken.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    backoff::Backoff,
    connect_error::ConnectError,
    connector::open,
    disconnect_reason::DisconnectReason,
    driver::{Found, Recovery, Search},
    handshake::{self, Claim, Resumption},
    hooks,
    limits::Limits,
    lock::{Mutex, event},
    peer_label::PeerLabel,
    session::Session,
    transport::{Address, ClientOptions, redacted},
};
use sockets_proto::{Token, clamp_timeout};

/// How a client reconnects when its connection has broken. By default it tries until it succeeds: the first time after a
/// random fraction of 100 ms, the next times after random fractions of times that double, up to 10 s. So the clients that
/// a server has lost at once do not come back at once.
///
/// The attempts are consecutive until a connection was steady. A shorter connection counts as a failed attempt, so the
/// delays grow while each connection ends soon. A connection is steady after a second at first. While connections are
/// lost again and again, that time grows like the delays, up to the longest delay or a minute. It is a second again after
/// a connection of that length. While the session can still be resumed
/// ([`Limits::resume_within`](crate::Limits::resume_within)), a delay is at most a third of the time for that, unless the
/// first one may be longer.
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

/// The least of [`Reconnect::at_most_every`].
const LONGEST_MIN: Duration = Duration::from_millis(100);
/// The most of [`Reconnect::at_most_every`].
const LONGEST_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time that is doubled if the first attempt is made at once.
const STEP_MIN: Duration = Duration::from_millis(1);

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(10), attempts: u32::MAX }
    }
}

impl Reconnect {
    /// Returns a policy without attempts: the session ends with its connection.
    pub fn never() -> Self {
        Self { attempts: 0, ..Self::default() }
    }

    /// Sets the longest time before the first attempt. Default: 100 ms. With zero, the first attempt is made at once; the
    /// times before the next ones grow from 2 ms.
    pub fn first_within(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Sets the longest time between two attempts. Default: 10 s. Less than 100 ms counts as 100 ms, and more than seven
    /// days as seven days.
    pub fn at_most_every(self, longest: Duration) -> Self {
        Self { longest: longest.clamp(LONGEST_MIN, LONGEST_MAX), ..self }
    }

    /// Sets the number of consecutive attempts after which the client gives up. By default, it does not. With 0, it makes
    /// none, as with [`never`](Self::never).
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    pub(crate) fn is_never(&self) -> bool {
        self.attempts == 0
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the longest delay before an attempt, of which the first is number 1.
    pub(crate) fn longest_delay(&self, attempt: u32) -> Duration {
        if attempt <= 1 {
            return self.first.min(self.longest);
        }
        let doubled = 2_u32.checked_pow(attempt - 1).unwrap_or(u32::MAX);
        self.first.max(STEP_MIN).saturating_mul(doubled).min(self.longest)
    }
}

/// How a client stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// It is connected.
    Connected {
        /// The number of the session, of those that became ready: 1 for the first. A session goes on over any number of connections, and nothing is lost
        /// then. When it could not go on, the next number says that the client has started anew: what was under way has
        /// failed, what was on its way may be lost, and the server knows this client's groups, and nothing else of it.
        session: u64,
    },
    /// The connection is lost, and the client reconnects.
    Reconnecting {
        /// The number of the attempt, counted from the last steady connection: see
        /// [`Reconnect`]. It is 0 while the client waits for a server that restarts.
        attempt: u32,
        /// The reason for which the last established connection ended. Failed attempts do not change it.
        reason: DisconnectReason,
        /// The message of the [`ConnectError`] of the previous attempt. An attempt also fails if its session ends
        /// before it is ready: a `connected` hook may refuse the client.
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

/// Makes the login. Its panic is an error, since it must not be the panic of the task that awaits it.
pub(crate) async fn make_login(login: &Login) -> Result<Vec<u8>, ConnectError> {
    let made = hooks::run_future("auth_with", PeerLabel::Server, login).await;
    made.unwrap_or_else(|| Err(ConnectError::Login("the function that makes it panicked".into())))
}

/// Knows the way back to the server.
pub(crate) struct WayBack {
    options: ClientOptions,
    limits: Arc<Limits>,
    login: Login,
    states: watch::Sender<ClientState>,
    backoff: Mutex<Backoff>,
    ticket: Mutex<Ticket>,
}

/// With what it goes on.
struct Ticket {
    token: Token,
    /// How many claims have been made, of this session and of former ones.
    attempts: u64,
    /// The sessions that became ready, and whether the current one is among them.
    sessions: u64,
    is_counted: bool,
    /// Where the server is.
    address: Address,
    /// Where it has said that the next one is.
    redirected: Option<Address>,
    /// The reason of the loss, until a session is established again.
    lost: Option<DisconnectReason>,
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
        let ticket =
            Ticket { token, attempts: 0, sessions: 0, is_counted: false, address, redirected: None, lost: None };
        let backoff = Backoff::new(policy, limits.resume_within);
        Self { options, limits, login, states, backoff: Mutex::new(backoff), ticket: Mutex::new(ticket) }
    }

    /// Waits for the time of the next attempt, and at least for `wait`. Returns the number of the attempt, or `None` if there
    /// are no more.
    async fn next_attempt(&self, wait: Duration, state: impl FnOnce(u32) -> ClientState) -> Option<u32> {
        let (attempt, delay) = self.backoff.lock().next(Instant::now(), part())?;
        self.states.send_replace(state(attempt));
        sleep(delay.max(wait)).await;
        Some(attempt)
    }
}

impl Recovery for WayBack {
    fn search(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> Search {
        Box::pin(async move {
            self.backoff.lock().on_lost(Instant::now());
            if self.ticket.lock().sessions == 0 {
                // The first `connect` has not returned, and reports the reason.
                return Err(reason);
            }
            let positions = session.positions();
            let (lost, mut last) = self.ticket.lock().lose(&reason);
            let tries = |attempt, error: Option<&ConnectError>| {
                let error = error.map(ConnectError::to_string);
                ClientState::Reconnecting { attempt, reason: lost.clone(), error }
            };
            // The time for which the server wants no attempt.
            let mut wait = Duration::ZERO;
            match &reason {
                DisconnectReason::Restarting { at } => {
                    self.states.send_replace(tries(0, last.as_ref()));
                    if let Some(url) = at {
                        let is_used = self.ticket.lock().redirect(url);
                        if !is_used {
                            let url = redacted(url);
                            event!(warn, url, "the server has named another one, whose address is of no use here");
                        }
                    }
                    sleep(session.restart_delay()).await;
                }
                DisconnectReason::Refused(refusal) => wait = refusal.retry_after().unwrap_or_default(),
                _ => {}
            }
            while let Some(attempt) = self.next_attempt(wait, |attempt| tries(attempt, last.as_ref())).await {
                let error = match self.attempt(attempt, positions).await {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                };
                event!(debug, %error, attempt, "an attempt to reconnect has failed");
                let retry = match &error {
                    ConnectError::Version { .. } | ConnectError::Login(_) => None,
                    ConnectError::Refused(refusal) => refusal.retry_after(),
                    _ => Some(Duration::ZERO),
                };
                last = Some(error);
                let Some(retry) = retry else { break };
                wait = retry;
            }
            Err(match last {
                None => reason,
                Some(ConnectError::Disconnected(reason)) => reason,
                Some(ConnectError::Refused(refusal)) => DisconnectReason::Refused(refusal),
                Some(error) => DisconnectReason::Lost(format!("it could not reconnect: {error}")),
            })
        })
    }

    fn on_established(&self) {
        self.backoff.lock().on_established(Instant::now());
        let session = {
            let mut ticket = self.ticket.lock();
            ticket.lost = None;
            ticket.sessions += u64::from(!mem::replace(&mut ticket.is_counted, true));
            ticket.sessions
        };
        let connected = ClientState::Connected { session };
        self.states.send_if_modified(|state| {
            let is_new = *state != connected;
            *state = connected;
            is_new
        });
    }
}

impl Ticket {
    /// Returns the reason of the loss, and the error of the last attempt if its session ended before it was ready.
    fn lose(&mut self, reason: &DisconnectReason) -> (DisconnectReason, Option<ConnectError>) {
        match &self.lost {
            Some(lost) => (lost.clone(), Some(ConnectError::ended(reason.clone()))),
            None => {
                self.lost = Some(reason.clone());
                (reason.clone(), None)
            }
        }
    }

    /// The server is followed by another one. Not over another transport: that might be less safe. Returns `false` if the
    /// address is of no use.
    fn redirect(&mut self, url: &str) -> bool {
        let address = Address::parse(url).ok().filter(|address| address.is_like(&self.address));
        let address = address.map(|address| address.with_credentials_of(&self.address));
        let is_used = address.is_some();
        self.redirected = address.or(self.redirected.take());
        is_used
    }

    /// Where to try: by turns where the server has said, if it has, and where it was.
    fn address(&self, attempt: u32) -> Address {
        self.redirected.as_ref().filter(|_| attempt % 2 == 1).unwrap_or(&self.address).clone()
    }
}

impl WayBack {
    async fn attempt(&self, attempt: u32, (received, kept): (u64, u64)) -> Result<Found, ConnectError> {
        let (claim, address) = {
            let mut ticket = self.ticket.lock();
            ticket.attempts += 1;
            let claim = Claim { token: ticket.token.clone(), received, kept, attempt: ticket.attempts };
            (claim, ticket.address(attempt))
        };
        let resumption = Some(Resumption::GoOn(claim));
        let patience = self.limits.authentication;
        // Before the server waits for it.
        let login = timeout(patience, make_login(&self.login)).await.map_err(|_| late())??;
        let mut link = open(&address, &self.options, &self.limits).await?;
        let deadline = Instant::now() + clamp_timeout(patience);
        let compression = &self.options.compression;
        let (theirs, granted) =
            handshake::greet(&mut link, &self.limits, compression, login, resumption, deadline).await?;
        let Some(granted) = granted else {
            return Err(ConnectError::Handshake("the server does not know resumption any more".into()));
        };
        let link = self.options.compression.around(link, theirs.compresses);
        let mut ticket = self.ticket.lock();
        (ticket.token, ticket.address, ticket.redirected) = (granted.token, address, None);
        let found = match granted.received {
            Some(position) => Found::Again(link, position),
            None => {
                ticket.is_counted = false;
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
    use super::*;

    fn delays(policy: &Reconnect, count: u32) -> Vec<u128> {
        (1..=count).map(|attempt| policy.longest_delay(attempt).as_millis()).collect()
    }

    #[test]
    fn delay_doubles_up_to_the_longest() {
        let policy = Reconnect::default();
        assert_eq!(delays(&policy, 9), [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(policy.longest_delay(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn delay_after_a_first_attempt_at_once_grows() {
        let policy = Reconnect::default().first_within(Duration::ZERO);
        assert_eq!(delays(&policy, 8), [0, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(policy.longest_delay(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn extreme_times_are_bounded() {
        let at_once = Reconnect::default().first_within(Duration::ZERO).at_most_every(Duration::ZERO);
        assert_eq!(at_once.longest_delay(20), LONGEST_MIN);
        let never = Reconnect::default().first_within(Duration::MAX).at_most_every(Duration::MAX);
        assert_eq!(never.longest_delay(1), LONGEST_MAX);
        assert_eq!(never.longest_delay(u32::MAX), LONGEST_MAX);
    }
}
