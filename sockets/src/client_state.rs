//! The states of a client's connection to its server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::watch;
use tokio_util::sync::ReusableBoxFuture;

use crate::{connect_error::ConnectError, disconnect_reason::DisconnectReason, session::Session};

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

/// A stream of the states of a client, returned by [`Client::states`](crate::Client::states).
pub struct StateChanges {
    next: ReusableBoxFuture<'static, (StateWatch, Option<ClientState>)>,
}

struct StateWatch {
    states: watch::Receiver<ClientState>,
    session: Arc<Session>,
    ended: bool,
}

impl StateWatch {
    async fn next(mut self) -> (Self, Option<ClientState>) {
        if self.ended {
            return (self, None);
        }
        tokio::select! {
            biased;
            // `changed` fails if the client cannot reconnect, since the state then has no sender.
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
        Self { next: ReusableBoxFuture::new(StateWatch { states, session, ended: false }.next()) }
    }

    /// Returns the next state, or `None` after [`ClientState::Ended`].
    ///
    /// The stream holds only the newest state. If the client has left a state before this call, the
    /// stream skips that state.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, no state is lost.
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
