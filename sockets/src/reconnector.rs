//! The reconnection of a client after a connection loss.

use std::{future::Future, mem, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    address::{Address, redacted},
    backoff::{Backoff, random_fraction},
    client_state::ClientState,
    connect_error::ConnectError,
    connector::Destination,
    disconnect_reason::DisconnectReason,
    driver::{Reattach, ReattachFuture, Reattached},
    handshake::{self, ResumeRequest, Resumption},
    hooks,
    limits::Limits,
    lock::{Mutex, event},
    peer_label::PeerLabel,
    reconnect::Reconnect,
    session::Session,
    session_hooks::SessionHooks,
    transport::ClientOptions,
};
use sockets_proto::{Token, clamp_timeout};

/// A function that returns the encoded login.
pub(crate) type Login =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Vec<u8>, ConnectError>> + Send>> + Send + Sync>;

/// Calls the login function. If the function panics, returns an error, so that the panic does not
/// end the caller's task.
pub(crate) async fn make_login(login: &Login) -> Result<Vec<u8>, ConnectError> {
    let made = hooks::run_future("auth_with", PeerLabel::Server, || login()).await;
    made.unwrap_or_else(|| Err(ConnectError::Login("the function of `auth_with` panicked".into())))
}

/// The settings with which a client opens and prepares its connections.
pub(crate) struct ConnectSettings {
    pub(crate) options: ClientOptions,
    pub(crate) limits: Arc<Limits>,
    pub(crate) login: Login,
    pub(crate) hooks: SessionHooks,
}

/// Opens new connections for a client's session.
pub(crate) struct Reconnector {
    settings: ConnectSettings,
    /// The session has begun without a connection.
    is_lazy: bool,
    states: watch::Sender<ClientState>,
    backoff: Mutex<Backoff>,
    reconnect_state: Mutex<ReconnectState>,
}

/// The state with which the next connection resumes the session.
struct ReconnectState {
    /// The token that resumes the session. It is `None` if the next attempt starts a new session.
    token: Option<Token>,
    /// The number of requests to resume that the client has sent for this session and all former
    /// sessions.
    attempts: u64,
    /// The number of sessions that became ready.
    sessions: u64,
    is_counted: bool,
    /// The session is ready and prepared, and has a connection.
    is_established: bool,
    /// The task in which hooks prepare the session.
    preparing: Option<AbortHandle>,
    /// The number of times that hooks have begun to prepare a session.
    preparations: u64,
    /// The server.
    destination: Destination,
    /// The address to which the server redirected the client.
    redirected: Option<Address>,
    /// The reason for the connection loss. It is `None` while a session is established.
    lost: Option<DisconnectReason>,
    /// The error after which the client makes no further attempt.
    error: Option<ConnectError>,
}

impl Reconnector {
    pub(crate) fn new(
        destination: Destination,
        settings: ConnectSettings,
        policy: Reconnect,
        token: Option<Token>,
        states: watch::Sender<ClientState>,
    ) -> Self {
        let is_lazy = token.is_none();
        let reconnect_state = ReconnectState {
            token,
            attempts: 0,
            sessions: 0,
            is_counted: false,
            is_established: false,
            preparing: None,
            preparations: 0,
            destination,
            redirected: None,
            lost: None,
            error: None,
        };
        let backoff = Backoff::new(policy, settings.limits.resume_within);
        Self { settings, is_lazy, states, backoff: Mutex::new(backoff), reconnect_state: Mutex::new(reconnect_state) }
    }

    /// Takes the error after which the client makes no further attempt.
    pub(crate) fn take_error(&self) -> Option<ConnectError> {
        self.reconnect_state.lock().error.take()
    }

    /// Waits until the next attempt may start, and at least for `wait`. Returns the number of the
    /// attempt, or `None` if the policy allows no further attempt.
    async fn next_attempt(&self, wait: Duration, state: impl FnOnce(u32) -> ClientState) -> Option<u32> {
        let (attempt, delay) = self.backoff.lock().next(Instant::now(), random_fraction())?;
        self.states.send_replace(state(attempt));
        sleep(delay.max(wait)).await;
        Some(attempt)
    }
}

impl Reattach for Reconnector {
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
        Box::pin(async move {
            self.backoff.lock().on_lost(Instant::now());
            self.reconnect_state.lock().is_established = false;
            if self.reconnect_state.lock().sessions == 0 && !self.is_lazy {
                // `connect` has not returned yet, and reports the reason.
                return Err(reason);
            }
            let positions = session.positions();
            let is_first = self.is_lazy && self.reconnect_state.lock().attempts == 0;
            let (lost, mut last) = if is_first { (None, None) } else { self.reconnect_state.lock().lose(&reason) };
            let reconnecting = |attempt, error: &Option<Arc<ConnectError>>| ClientState::Reconnecting {
                attempt,
                reason: lost.clone(),
                error: error.clone(),
            };
            // The minimum delay, as requested by the server.
            let mut wait = Duration::ZERO;
            match &reason {
                DisconnectReason::ShuttingDown { redirect, .. } => {
                    self.states.send_replace(reconnecting(0, &last));
                    if let Some(url) = redirect {
                        let is_accepted = self.reconnect_state.lock().redirect(url);
                        if !is_accepted {
                            let url = redacted(url);
                            event!(
                                warn,
                                url,
                                "the redirect is ignored: its address is invalid or uses another transport"
                            );
                        }
                    }
                    sleep(session.restart_delay()).await;
                }
                DisconnectReason::Refused(refusal) => wait = refusal.retry_after().unwrap_or_default(),
                _ => {}
            }
            // The first attempt has no delay, and is made whatever the policy.
            let mut next =
                if is_first { Some(1) } else { self.next_attempt(wait, |attempt| reconnecting(attempt, &last)).await };
            while let Some(attempt) = next {
                let error = match self.attempt(attempt, positions).await {
                    Ok(reattached) => return Ok(reattached),
                    Err(error) => error,
                };
                event!(debug, %error, attempt, "an attempt to reconnect has failed");
                let retry = match &error {
                    ConnectError::Version { .. } => None,
                    ConnectError::Refused(refusal) => refusal.retry_after(),
                    _ => Some(Duration::ZERO),
                };
                last = Some(Arc::new(error));
                let Some(retry) = retry else { break };
                wait = retry;
                next = self.next_attempt(wait, |attempt| reconnecting(attempt, &last)).await;
            }
            let ended = match last.as_deref() {
                None => reason,
                Some(ConnectError::Disconnected(reason)) => reason.clone(),
                Some(ConnectError::Refused(refusal)) => DisconnectReason::Refused(refusal.clone()),
                Some(error) => DisconnectReason::Lost(format!("the client could not reconnect: {error}")),
            };
            // No state contains the last error, so this is its only handle.
            self.reconnect_state.lock().error = last.and_then(Arc::into_inner);
            Err(ended)
        })
    }

    fn on_new_session(self: Arc<Self>, session: &Arc<Session>) {
        if self.settings.hooks.is_empty() {
            return session.release_messages();
        }
        let (number, preparation, previous) = {
            let mut reconnect_state = self.reconnect_state.lock();
            reconnect_state.preparations += 1;
            (reconnect_state.sessions + 1, reconnect_state.preparations, reconnect_state.preparing.take())
        };
        if let Some(previous) = previous {
            previous.abort();
        }
        let prepared = self.settings.hooks.begin(session, number);
        let (session, reconnector) = (Arc::clone(session), Arc::clone(&self));
        let (begin, begins) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            // The task is registered first. The sender is dropped without a message.
            let _ = begins.await;
            tokio::select! {
                prepared = prepared => reconnector.on_prepared(&session, preparation, prepared),
                _ = session.disconnected() => {}
            }
        });
        self.reconnect_state.lock().preparing = Some(task.abort_handle());
        drop(begin);
    }

    fn on_established(&self) {
        let connected = {
            let mut reconnect_state = self.reconnect_state.lock();
            if reconnect_state.preparing.is_some() || mem::replace(&mut reconnect_state.is_established, true) {
                return;
            }
            reconnect_state.lost = None;
            let resumed = mem::replace(&mut reconnect_state.is_counted, true);
            reconnect_state.sessions += u64::from(!resumed);
            ClientState::Connected { session: reconnect_state.sessions, resumed }
        };
        self.backoff.lock().on_established(Instant::now());
        self.states.send_if_modified(|state| {
            let is_new = *state != connected;
            *state = connected;
            is_new
        });
    }
}

impl ReconnectState {
    /// Returns the reason for the connection loss. If the session of the last attempt ended before
    /// it was ready, also returns the error of that attempt.
    fn lose(&mut self, reason: &DisconnectReason) -> (Option<DisconnectReason>, Option<Arc<ConnectError>>) {
        match &self.lost {
            Some(lost) => (Some(lost.clone()), Some(Arc::new(ConnectError::ended(reason.clone())))),
            None => {
                self.lost = Some(reason.clone());
                (Some(reason.clone()), None)
            }
        }
    }

    /// Sets the address of the server that replaces this server. Returns `false` if the address is
    /// invalid or rejected.
    ///
    /// The function rejects an address of another transport, since that transport may be less
    /// secure than the current transport.
    fn redirect(&mut self, url: &str) -> bool {
        let Destination::Address(own) = &self.destination else { return false };
        let address = Address::parse(url).ok().filter(|address| address.same_kind(own));
        let address = address.map(|address| address.with_credentials_of(own));
        let is_accepted = address.is_some();
        self.redirected = address.or(self.redirected.take());
        is_accepted
    }

    /// Returns the destination of an attempt. After a redirect, consecutive attempts alternate
    /// between the new address and the old address.
    fn destination(&self, attempt: u32) -> Destination {
        match &self.redirected {
            Some(address) if attempt % 2 == 1 => Destination::Address(address.clone()),
            _ => self.destination.clone(),
        }
    }
}

impl Reconnector {
    /// Ends the preparation of a session by its hooks. If the hooks have failed, the client starts
    /// another session.
    fn on_prepared(&self, session: &Session, preparation: u64, prepared: Result<(), &'static str>) {
        {
            let mut reconnect_state = self.reconnect_state.lock();
            if reconnect_state.preparations != preparation {
                return;
            }
            if prepared.is_ok() {
                reconnect_state.preparing = None;
            } else {
                // The preparation stays registered. Otherwise the driver could establish the
                // session before it ends below.
                reconnect_state.token = None;
            }
        }
        if let Err(error) = prepared {
            event!(warn, error, "a session could not be prepared");
            return session.abandon(DisconnectReason::Lost(error.into()));
        }
        session.release_messages();
        // Otherwise the driver calls `on_established`.
        if session.is_ready() && !session.is_detached() {
            self.on_established();
        }
    }

    async fn attempt(&self, attempt: u32, (received, kept): (u64, u64)) -> Result<Reattached, ConnectError> {
        let (resumption, destination) = {
            let mut reconnect_state = self.reconnect_state.lock();
            reconnect_state.attempts += 1;
            let attempts = reconnect_state.attempts;
            let resumption = reconnect_state.token.clone().map_or(Resumption::New, |token| {
                Resumption::Resume(ResumeRequest { token, received, first_retained: kept, attempt: attempts })
            });
            (Some(resumption), reconnect_state.destination(attempt))
        };
        let limit = self.settings.limits.authentication;
        // Make the login before the connection is opened, because the server limits the time from
        // the opening until it receives the login.
        let login = timeout(limit, make_login(&self.settings.login)).await.map_err(|_| timed_out())??;
        let mut link = destination.open(&self.settings.options, &self.settings.limits).await?;
        let deadline = Instant::now() + clamp_timeout(limit);
        let compression = &self.settings.options.compression;
        let (peer_settings, grant) =
            handshake::send_hello(&mut link, &self.settings.limits, compression, login, resumption, deadline).await?;
        let Some(grant) = grant else {
            return Err(ConnectError::Handshake("the server no longer supports resumption".into()));
        };
        let link = self.settings.options.compression.wrap(link, peer_settings.supports_compression);
        let mut reconnect_state = self.reconnect_state.lock();
        (reconnect_state.token, reconnect_state.destination, reconnect_state.redirected) =
            (Some(grant.token), destination, None);
        let reattached = match grant.received {
            Some(position) => Reattached::Resumed(link, position),
            None => {
                reconnect_state.is_counted = false;
                Reattached::NewSession(link, peer_settings)
            }
        };
        Ok(reattached)
    }
}

fn timed_out() -> ConnectError {
    ConnectError::Unreachable(std::io::ErrorKind::TimedOut.into())
}
