//! The states of a client's connection to its server.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{connect_error::ConnectError, disconnect_reason::DisconnectReason, session::Session, states::States};

/// The state of a client's connection to its server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientState {
    /// The client is connected, and its hooks have prepared the session.
    #[non_exhaustive]
    Connected {
        /// The number of the session. The client counts its sessions from 1, and does not count
        /// sessions that ended before they were ready.
        ///
        /// A session continues over any number of connections without a loss. If the session cannot
        /// be resumed, the client has a new session with the next number. Calls in flight have then
        /// failed, and emits in flight may be lost. On the server, the new session has none of the
        /// rooms and listeners of the former session.
        session: u64,
        /// `true` if the client has resumed the session over another connection.
        resumed: bool,
    },
    /// The client has no connection, and makes attempts to connect.
    #[non_exhaustive]
    Reconnecting {
        /// The number of the attempt, counted from the last steady connection: see
        /// [`Reconnect`](crate::Reconnect). While the client waits for a server that restarts, the
        /// number is 0.
        attempt: u32,
        /// The reason for which the last established connection ended. Failed attempts do not
        /// change this reason. It is `None` before the first connection.
        reason: Option<DisconnectReason>,
        /// The error of the previous attempt. An attempt also fails if its session ends before the
        /// session is ready. For example, a `connected` hook may refuse the client.
        error: Option<Arc<ConnectError>>,
    },
    /// The session has ended, and the client does not reconnect.
    Ended(DisconnectReason),
}

/// Returns the changes of a client's state that follow this call.
pub(crate) fn states_of(mut states: watch::Receiver<ClientState>, session: Arc<Session>) -> States<ClientState> {
    states.mark_unchanged();
    States::new(Some((states, session)), |watch| async {
        let (mut states, session) = watch?;
        tokio::select! {
            biased;
            // `changed` fails if the client cannot reconnect, since the state then has no sender.
            Ok(()) = states.changed() => {
                let state = states.borrow_and_update().clone();
                Some((state, Some((states, session))))
            }
            reason = session.disconnected() => Some((ClientState::Ended(reason), None)),
        }
    })
}
