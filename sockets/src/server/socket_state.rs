//! The states of a client's session on the server.

use std::sync::Arc;

use crate::{disconnect_reason::DisconnectReason, session::Session, states::States};

/// The state of a client's session on the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SocketState {
    /// The session has a connection.
    Connected,
    /// The session is detached: it has no connection, for at most
    /// [`Limits::resume_within`](crate::Limits::resume_within). Messages to the client wait.
    Away,
    /// The session has ended.
    Ended(DisconnectReason),
}

/// Returns the changes of a session's state that follow this call. An idle session keeps nothing for
/// them.
pub(super) fn states_of(session: Arc<Session>) -> States<SocketState> {
    let seen = session.connection_changes();
    States::new(Some((session, seen)), async |watch| {
        let (session, seen) = watch?;
        match session.connection_changed(seen).await {
            Ok(changes) => {
                // Each change is a loss or a resumption, in turns. Of several changes, the stream
                // returns the last loss and the last resumption.
                let unseen = changes.wrapping_sub(seen);
                let next = changes.wrapping_sub((unseen - 1) % 2);
                let state = if next % 2 == 1 { SocketState::Away } else { SocketState::Connected };
                Some((state, Some((session, next))))
            }
            Err(reason) => Some((SocketState::Ended(reason), None)),
        }
    })
}
