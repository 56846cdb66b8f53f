//! The attempts of a client to connect again after its connection has broken.

use std::{future::Future, mem, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    address::{Address, redacted},
    backoff::Backoff,
    client_state::ClientState,
    connect_error::ConnectError,
    connector::open,
    disconnect_reason::DisconnectReason,
    driver::{Reattach, ReattachFuture, Reattached},
    handshake::{self, ResumeRequest, Resumption},
    hooks,
    limits::Limits,
    lock::{Mutex, event},
    peer_label::PeerLabel,
    reconnect::Reconnect,
    session::Session,
    transport::ClientOptions,
};
use sockets_proto::{Token, clamp_timeout};

/// Makes a login, encoded.
pub(crate) type Login =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<u8>, ConnectError>> + Send>> + Send + Sync>;

/// Makes the login. Its panic is an error, since it must not be the panic of the task that awaits it.
pub(crate) async fn make_login(login: &Login) -> Result<Vec<u8>, ConnectError> {
    let made = hooks::run_future("auth_with", PeerLabel::Server, login).await;
    made.unwrap_or_else(|| Err(ConnectError::Login("the function that makes it panicked".into())))
}

/// Knows the way back to the server.
pub(crate) struct Reconnector {
    options: ClientOptions,
    limits: Arc<Limits>,
    login: Login,
    states: watch::Sender<ClientState>,
    backoff: Mutex<Backoff>,
    ticket: Mutex<ReconnectState>,
}

/// With what it goes on.
struct ReconnectState {
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

impl Reconnector {
    pub(crate) fn new(
        address: Address,
        options: ClientOptions,
        limits: Arc<Limits>,
        login: Login,
        policy: Reconnect,
        token: Token,
        states: watch::Sender<ClientState>,
    ) -> Self {
        let ticket = ReconnectState {
            token,
            attempts: 0,
            sessions: 0,
            is_counted: false,
            address,
            redirected: None,
            lost: None,
        };
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

impl Reattach for Reconnector {
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
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

impl ReconnectState {
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
        let address = Address::parse(url).ok().filter(|address| address.same_kind(&self.address));
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

impl Reconnector {
    async fn attempt(&self, attempt: u32, (received, kept): (u64, u64)) -> Result<Reattached, ConnectError> {
        let (claim, address) = {
            let mut ticket = self.ticket.lock();
            ticket.attempts += 1;
            let claim = ResumeRequest { token: ticket.token.clone(), received, kept, attempt: ticket.attempts };
            (claim, ticket.address(attempt))
        };
        let resumption = Some(Resumption::Resume(claim));
        let patience = self.limits.authentication;
        // Before the server waits for it.
        let login = timeout(patience, make_login(&self.login)).await.map_err(|_| late())??;
        let mut link = open(&address, &self.options, &self.limits).await?;
        let deadline = Instant::now() + clamp_timeout(patience);
        let compression = &self.options.compression;
        let (theirs, granted) =
            handshake::send_hello(&mut link, &self.limits, compression, login, resumption, deadline).await?;
        let Some(granted) = granted else {
            return Err(ConnectError::Handshake("the server does not know resumption any more".into()));
        };
        let link = self.options.compression.around(link, theirs.supports_compression);
        let mut ticket = self.ticket.lock();
        (ticket.token, ticket.address, ticket.redirected) = (granted.token, address, None);
        let found = match granted.received {
            Some(position) => Reattached::Resumed(link, position),
            None => {
                ticket.is_counted = false;
                Reattached::NewSession(link, theirs)
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
