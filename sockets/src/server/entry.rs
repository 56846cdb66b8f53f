//! Who may come in: the handshake's decisions.

use super::{
    AuthFailure, Identity, Inner, Socket,
    admission::{Connected, Turn},
};
use crate::{
    connect_error::{AcceptError, Refusal},
    handshake::{self, Claim, Heard, Theirs},
    transport::{Handshake, Link},
};
use sockets_proto::Token;

/// What one is told for whom there is no place.
const FULL: &str = "the server is full";

/// How somebody comes in.
pub(super) enum Entry<I> {
    New(I, Connected),
    /// A session that is resumed, with the identity that it takes and the token for the next time.
    Return(Socket<I>, I, Claim, Token),
}

/// The handshake, up to its welcome.
pub(super) async fn admit<I: Identity>(
    server: &Inner<I>,
    link: &mut Link,
    handshake: Handshake,
    turn: &mut Turn,
) -> Result<(Theirs, Entry<I>), AcceptError> {
    if let Err(error) = &server.registration {
        return Err(AcceptError::Registration(error.to_string()));
    }
    let heard = turn.theirs(handshake::hear(link, &server.limits)).await;
    let Heard { theirs, login, claim } = heard.unwrap_or_else(|| handshake::cut_short(link))?;
    if let Some(claim) = claim {
        match returned(server, &claim, &login, &handshake).await {
            // It has a place.
            Ok(Some((socket, identity, token))) => {
                return Ok((theirs, Entry::Return(socket, identity, claim, token)));
            }
            Ok(None) => {}
            Err(failure) => return turn_away(link, failure, turn).await,
        }
    }
    if server.admission.is_full() {
        return refuse(link, Refusal::new(FULL), turn).await;
    }
    let identity = match (server.authenticate)(&login, handshake).await {
        Ok(identity) => identity,
        Err(failure) => return turn_away(link, failure, turn).await,
    };
    if server.registry.read().is_closed() {
        return refuse(link, Refusal::new("the server is shutting down"), turn).await;
    }
    // Others may have come in meanwhile.
    let Some(place) = server.admission.take_place() else {
        return refuse(link, Refusal::new(FULL), turn).await;
    };
    Ok((theirs, Entry::New(identity, place)))
}

/// The session that a client resumes which shows a valid token and authenticates with an equal identity, that identity,
/// and the token for the next time.
async fn returned<I: Identity>(
    server: &Inner<I>,
    claim: &Claim,
    login: &[u8],
    handshake: &Handshake,
) -> Result<Option<(Socket<I>, I, Token)>, AuthFailure> {
    let found = server.registry.read().socket(claim.token.session()).cloned();
    let known = found.filter(|socket| socket.session().knows(&claim.token) && !server.registry.read().is_closed());
    let Some(socket) = known else { return Ok(None) };
    let handshake = Handshake { returns: true, ..handshake.clone() };
    let identity = (server.authenticate)(login, handshake).await?;
    let goes_on = *socket.identity() == identity && socket.session().can_go_on(claim);
    Ok(Token::new(socket.number()).filter(|_| goes_on).map(|next| (socket, identity, next)))
}

async fn turn_away<T>(link: &mut Link, failure: AuthFailure, turn: &mut Turn) -> Result<T, AcceptError> {
    match failure {
        AuthFailure::Refused(refusal) => refuse(link, refusal, turn).await,
        AuthFailure::Misunderstood(what) => misunderstand(link, what, turn).await,
    }
}

async fn refuse<T>(link: &mut Link, refusal: Refusal, turn: &mut Turn) -> Result<T, AcceptError> {
    let told = turn.theirs(handshake::refuse(link, refusal.clone())).await;
    told.unwrap_or(Err(AcceptError::Refused(refusal)))
}

pub(super) async fn misunderstand<T>(link: &mut Link, what: String, turn: &mut Turn) -> Result<T, AcceptError> {
    let told = turn.theirs(handshake::misunderstand(link, what.clone())).await;
    told.unwrap_or(Err(AcceptError::Handshake(what)))
}
