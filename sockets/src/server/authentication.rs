//! The handshake of a connection: which clients are admitted, and to which session.

use std::future::poll_fn;

use bytes::BytesMut;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    AuthFailure, Identity, Inner, Socket,
    limiter::{ConnectionPermit, HandshakePermit},
};
use crate::{
    connect_error::AcceptError,
    handshake::{self, PeerSettings, ReceivedHello, ResumeRequest},
    peer_label::PeerLabel,
    refusal::Refusal,
    transport::{ConnectInfo, Link, ReceiveError},
};
use crate::{
    hooks,
    session::{Checked, SUPERSEDED},
};
use sockets_proto::Token;

/// The message to a client for which there is no capacity.
const FULL: &str = "the server is full";
/// The message to a client whose handshake exceeds its time limit.
const TOO_LATE: &str = "authentication took too long";

/// The session of an admitted client.
pub(super) enum Authenticated<I> {
    New(I, ConnectionPermit),
    /// A session that is resumed, with the identity that it takes and the token for the next time.
    Resumed(Socket<I>, I, ResumeRequest, Token),
}

/// Makes the handshake, up to its welcome, until `deadline`.
pub(super) async fn establish<I: Identity>(
    server: &Inner<I>,
    link: &mut Link,
    handshake: ConnectInfo,
    turn: &mut HandshakePermit,
    deadline: Instant,
) -> Result<(PeerSettings, Authenticated<I>), AcceptError> {
    if let Err(error) = &server.registration {
        return Err(AcceptError::Registration(error.to_string()));
    }
    let heard = timeout_at(deadline, turn.wait_for_peer(handshake::read_hello(link, &server.limits))).await;
    let Ok(heard) = heard else { return reject_malformed(server, link, TOO_LATE.into(), turn).await };
    let ReceivedHello { theirs, login, claim } = heard.unwrap_or_else(|| handshake::evict(link))?;
    let claimed = claim.clone();
    let decided = tokio::select! {
        biased;
        decided = timeout_at(deadline, decide(server, &login, claim, handshake)) => decided,
        // Its permit is for others.
        left = closed(link, server.limits.login_bytes as usize) => return Err(left),
    };
    match decided.unwrap_or_else(|_| Err(Refusal::retry(TOO_LATE).into())) {
        Ok(entry) => Ok((theirs, entry)),
        Err(AuthFailure::Refused(refusal)) => {
            // A client that does not know retries makes no other attempt after any refusal.
            let is_final = refusal.retry_after().is_none() || !theirs.retries;
            if let Some(claim) = claimed.filter(|_| is_final) {
                end_claimed(server, &claim, &refusal);
            }
            refuse(server, link, refusal, &theirs, turn).await
        }
        Err(AuthFailure::Misunderstood(what)) => reject_malformed(server, link, what, turn).await,
    }
}

/// Ends the session that a finally refused client has claimed, since the client does not try again.
fn end_claimed<I: Identity>(server: &Inner<I>, claim: &ResumeRequest, refusal: &Refusal) {
    let claimed = server.registry.read().socket(claim.token.session()).cloned();
    if let Some(socket) = claimed {
        socket.session().refuse(claim, refusal.clone());
    }
}

/// Authenticates a client, and decides which session it has.
async fn decide<I: Identity>(
    server: &Inner<I>,
    login: &[u8],
    claim: Option<ResumeRequest>,
    handshake: ConnectInfo,
) -> Result<Authenticated<I>, AuthFailure> {
    if let Some(claim) = claim
        && let Some((socket, identity, token)) = find_session(server, &claim, login, &handshake).await?
    {
        // It has a permit.
        return Ok(Authenticated::Resumed(socket, identity, claim, token));
    }
    if server.limiter.is_full() {
        return Err(Refusal::retry(FULL).into());
    }
    let identity = authenticate(server, login, handshake).await?;
    if server.registry.read().is_closed() {
        return Err(Refusal::retry("the server is shutting down").into());
    }
    // Others may have been admitted meanwhile.
    let place = server.limiter.try_acquire_connection().ok_or_else(|| Refusal::retry(FULL))?;
    Ok(Authenticated::New(identity, place))
}

/// The session that a client resumes which shows a valid token and authenticates with an equal identity, that identity,
/// and the token for the next time.
async fn find_session<I: Identity>(
    server: &Inner<I>,
    claim: &ResumeRequest,
    login: &[u8],
    handshake: &ConnectInfo,
) -> Result<Option<(Socket<I>, I, Token)>, AuthFailure> {
    let found = server.registry.read().socket(claim.token.session()).cloned();
    let known =
        found.filter(|socket| socket.session().verify_token(&claim.token) && !server.registry.read().is_closed());
    let Some(socket) = known else { return Ok(None) };
    let handshake = ConnectInfo { is_resumption: true, ..handshake.clone() };
    let identity = authenticate(server, login, handshake).await?;
    if *socket.identity() != identity {
        return Ok(None);
    }
    match socket.session().check(claim) {
        Checked::Resumable => Ok(Token::new(socket.number()).map(|next| (socket, identity, next))),
        // Another session would be for a connection that the client has given up.
        Checked::Superseded => Err(Refusal::retry(SUPERSEDED).into()),
        Checked::Invalid => Ok(None),
    }
}

/// Runs the user's authentication. Its panic is a refusal, since the next attempt may succeed.
async fn authenticate<I: Identity>(server: &Inner<I>, login: &[u8], handshake: ConnectInfo) -> Result<I, AuthFailure> {
    let peer = PeerLabel::Connecting { address: handshake.peer_addr };
    let identity = hooks::run_future("authenticate", peer, || (server.authenticate)(login, handshake)).await;
    identity.unwrap_or_else(|| Err(Refusal::retry("the server failed to authenticate the client").into()))
}

/// Waits until the client has closed the connection, or sends more than it may before the welcome. What it sends
/// meanwhile is kept.
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
                return AcceptError::Handshake("the client disconnected while it was authenticated".into());
            }
            Err(ReceiveError::Io(error)) => return error.into(),
            Err(ReceiveError::Violation(violation)) => return AcceptError::Handshake(violation.to_string()),
        }
        if link.received.len() > limit {
            return AcceptError::Handshake("the client sent too much before the welcome".into());
        }
    }
}

pub(super) async fn refuse<I, T>(
    server: &Inner<I>,
    link: &mut Link,
    refusal: Refusal,
    theirs: &PeerSettings,
    turn: &mut HandshakePermit,
) -> Result<T, AcceptError> {
    let refusing = turn.wait_for_peer(handshake::refuse(link, refusal.clone(), theirs.retries));
    // A client that sends nothing may read nothing either.
    let refused = timeout(server.limits.authentication, refusing).await;
    refused.ok().flatten().unwrap_or(Err(AcceptError::Refused(refusal)))
}

async fn reject_malformed<I, T>(
    server: &Inner<I>,
    link: &mut Link,
    what: String,
    turn: &mut HandshakePermit,
) -> Result<T, AcceptError> {
    let telling = turn.wait_for_peer(handshake::reject_malformed(link, what.clone()));
    let told = timeout(server.limits.authentication, telling).await;
    told.ok().flatten().unwrap_or(Err(AcceptError::Handshake(what)))
}
