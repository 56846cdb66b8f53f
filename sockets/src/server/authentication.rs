//! The handshake of a connection: admits clients, and selects their sessions.

use std::future::poll_fn;

use bytes::BytesMut;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Inner, Socket,
    limiter::{ConnectionPermit, HandshakePermit},
    shutdown,
};
use crate::{
    authenticator::{Admission, AuthFailure, FAILED},
    connect_error::AcceptError,
    handshake::{self, ClientHello, PeerSettings, ResumeRequest},
    identity::Identity,
    peer_label::PeerLabel,
    refusal::Refusal,
    transport::{ConnectInfo, Link, ReceiveError},
};
use crate::{
    hooks,
    session::{Checked, SUPERSEDED},
};
use sockets_proto::Token;

/// The message to a client if there is no connection permit.
const FULL: &str = "the server is full";
/// The message to a client that exceeds the time limit of the handshake.
const TOO_LATE: &str = "authentication took too long";

/// The session of an admitted client.
pub(super) enum Authenticated<I> {
    New(I, ConnectionPermit),
    /// A resumed session, its new identity, the request to resume it, and the next resumption
    /// token.
    Resumed(Socket<I>, I, ResumeRequest, Token),
}

/// Performs the handshake up to the server hello, until `deadline`.
pub(super) async fn establish<I: Identity>(
    server: &Inner<I>,
    link: &mut Link,
    info: ConnectInfo,
    permit: &mut HandshakePermit,
    deadline: Instant,
) -> Result<(PeerSettings, Authenticated<I>), AcceptError> {
    let hello = timeout_at(deadline, permit.wait_for_peer(handshake::read_hello(link, &server.limits))).await;
    let Ok(hello) = hello else { return reject_malformed(server, link, TOO_LATE.into(), permit).await };
    let ClientHello { peer: peer_settings, login, resume: request } =
        hello.unwrap_or_else(|| handshake::evict(link))?;
    let retries = peer_settings.retries;
    let decided = tokio::select! {
        biased;
        decided = timeout_at(deadline, decide(server, &login, request, retries, info)) => decided,
        // If the client has disconnected, its permit is returned for other handshakes.
        left = closed(link, server.limits.login_bytes as usize) => return Err(left),
    };
    match decided.unwrap_or_else(|_| Err(Refusal::retry(TOO_LATE).into())) {
        Ok(authenticated) => Ok((peer_settings, authenticated)),
        Err(AuthFailure::Refused(refusal)) => refuse(server, link, refusal, &peer_settings, permit).await,
        Err(AuthFailure::InvalidLogin(error)) => reject_malformed(server, link, error, permit).await,
    }
}

/// Authenticates a client and selects its session.
async fn decide<I: Identity>(
    server: &Inner<I>,
    login: &[u8],
    request: Option<ResumeRequest>,
    retries: bool,
    info: ConnectInfo,
) -> Result<Authenticated<I>, AuthFailure> {
    if let Some(request) = request
        && let Some((socket, identity, token)) = find_session(server, &request, login, retries, &info).await?
    {
        // The session has a connection permit already.
        return Ok(Authenticated::Resumed(socket, identity, request, token));
    }
    if server.limiter.is_full() {
        return Err(Refusal::retry(FULL).into());
    }
    let identity = authenticate(server, login, info).await?;
    if let Some(reason) = server.registry.read().closed() {
        return Err(shutdown::refusal(reason).into());
    }
    // Other clients may have been admitted during the authentication.
    let connection_permit = server.limiter.try_acquire_connection().ok_or_else(|| Refusal::retry(FULL))?;
    Ok(Authenticated::New(identity, connection_permit))
}

/// Returns the session that a client resumes, its new identity and the next resumption token.
///
/// Returns `None` if the client presents no valid token, or if its new identity has another key than
/// the identity of the session. If the client is refused finally, its session ends, because the client
/// makes no other attempt.
async fn find_session<I: Identity>(
    server: &Inner<I>,
    request: &ResumeRequest,
    login: &[u8],
    retries: bool,
    info: &ConnectInfo,
) -> Result<Option<(Socket<I>, I, Token)>, AuthFailure> {
    let found = server.registry.read().socket(request.token.session()).cloned();
    let known =
        found.filter(|socket| socket.session().verify_token(request) && server.registry.read().closed().is_none());
    let Some(socket) = known else { return Ok(None) };
    let info = ConnectInfo { is_resumption: true, ..info.clone() };
    let identity = match authenticate(server, login, info).await {
        // A client that does not support retries makes no other attempt, whatever the refusal.
        Err(AuthFailure::Refused(refusal)) if refusal.retry_after().is_none() || !retries => {
            socket.session().refuse(request, refusal.clone());
            return Err(refusal.into());
        }
        authenticated => authenticated?,
    };
    if socket.identity().key() != identity.key() {
        return Ok(None);
    }
    match socket.session().check(request) {
        Checked::Resumable => Ok(Token::new(socket.number()).map(|next| (socket, identity, next))),
        // The client has abandoned this connection, so a new session over it would be of no use.
        Checked::Superseded => Err(Refusal::retry(SUPERSEDED).into()),
        Checked::Invalid => Ok(None),
    }
}

/// Runs the user's authentication. If the authentication panics, the client may retry, since the
/// next attempt may succeed.
async fn authenticate<I: Identity>(server: &Inner<I>, login: &[u8], info: ConnectInfo) -> Result<I, AuthFailure> {
    let peer = PeerLabel::Connecting { address: info.remote_addr };
    let admission = hooks::run_future("authenticate", peer, || (server.authenticate)(login, info)).await;
    admission.unwrap_or_else(|| Err(Refusal::retry(FAILED).into())).map(Admission::into_identity)
}

/// Waits until the client closes the connection, or until the client has sent more than `limit`
/// bytes before the server hello. The link keeps the received bytes.
async fn closed(link: &mut Link, limit: usize) -> AcceptError {
    loop {
        match poll_fn(|cx| link.receiver.poll_receive(cx, limit)).await {
            Ok(batch) if link.received.is_empty() => link.received = batch,
            Ok(batch) => {
                let mut received = BytesMut::from(&link.received[..]);
                received.extend_from_slice(&batch);
                link.received = received.freeze();
            }
            Err(ReceiveError::Closed) => {
                return AcceptError::Handshake("the client disconnected during authentication".into());
            }
            Err(ReceiveError::Io(error)) => return error.into(),
            Err(ReceiveError::Violation(violation)) => return AcceptError::Handshake(violation.to_string()),
        }
        if link.received.len() > limit {
            return AcceptError::Handshake("the client sent too many bytes before the server hello".into());
        }
    }
}

pub(super) async fn refuse<I, T>(
    server: &Inner<I>,
    link: &mut Link,
    refusal: Refusal,
    peer_settings: &PeerSettings,
    permit: &mut HandshakePermit,
) -> Result<T, AcceptError> {
    let refusing = permit.wait_for_peer(handshake::refuse(link, refusal.clone(), peer_settings.retries));
    // A client that sends nothing may not read either.
    let refused = timeout(server.limits.authentication, refusing).await;
    refused.ok().flatten().unwrap_or(Err(AcceptError::Refused(refusal)))
}

async fn reject_malformed<I, T>(
    server: &Inner<I>,
    link: &mut Link,
    error: String,
    permit: &mut HandshakePermit,
) -> Result<T, AcceptError> {
    let rejecting = permit.wait_for_peer(handshake::reject_malformed(link, error.clone()));
    let rejected = timeout(server.limits.authentication, rejecting).await;
    rejected.ok().flatten().unwrap_or(Err(AcceptError::Handshake(error)))
}
