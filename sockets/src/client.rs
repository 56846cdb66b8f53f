//! The client.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    client_builder::ClientBuilder,
    client_state::{ClientState, states_of},
    disconnect_reason::DisconnectReason,
    peer_methods::peer_methods,
    session::{Peer, Session},
    states::States,
};

/// A handle to the session of a client with its server.
///
/// The handle has the methods of a [`Peer`]. The session stays open while a clone of the handle exists.
/// Dropping the last clone closes the session, as [`close`](Self::close) does, but in the
/// background.
#[derive(Clone, Debug)]
pub struct Client {
    peer: Peer,
    states: watch::Receiver<ClientState>,
    _keep_open: Arc<CloseOnDrop>,
}

impl Client {
    /// Returns the first handle of a session. The session stays open while a clone of it exists.
    pub(crate) fn new(session: &Arc<Session>, states: watch::Receiver<ClientState>) -> Self {
        Self { peer: Peer::new(Arc::clone(session)), states, _keep_open: Arc::new(CloseOnDrop(Arc::clone(session))) }
    }

    peer_methods!();

    /// Returns the server as a peer, which does not keep the client open.
    pub fn as_peer(&self) -> &Peer {
        &self.peer
    }

    fn session(&self) -> &Arc<Session> {
        self.peer.session()
    }

    /// Returns a builder with default settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Closes the session and waits until the server has received the close reason.
    ///
    /// The client sends the close reason after all messages that are already queued. If there is no
    /// connection, the session ends, and the server receives no notice.
    ///
    /// Dropping the last clone of the client also sends the close reason, but in the background. If
    /// the program exits immediately afterwards, it may end before the close reason is sent.
    ///
    /// ```
    /// # async fn example(client: sockets::Client) -> Result<(), sockets::CallError> {
    /// client.emit("seen", &7).await?;
    /// client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If a handler, listener or layer of this client calls this method, the method returns without
    /// waiting. Otherwise, that code would wait for its own completion.
    ///
    /// # Cancel safety
    ///
    /// The first poll of the future closes the client, even if the future is then dropped.
    pub async fn close(&self) {
        let session = self.peer.session();
        session.close(DisconnectReason::Closed);
        if !session.runs_here() {
            session.released().await;
        }
    }

    /// Returns the current connection state.
    pub fn state(&self) -> ClientState {
        match self.peer.session().reason() {
            Some(reason) => ClientState::Ended(reason.clone()),
            None => self.states.borrow().clone(),
        }
    }

    pub(crate) fn state_watch(&self) -> watch::Receiver<ClientState> {
        self.states.clone()
    }

    /// Returns a stream of the state changes that follow this call.
    ///
    /// The stream ends after [`ClientState::Ended`]. The stream does not keep the client open.
    ///
    /// ```
    /// # async fn example(client: &sockets::Client) {
    /// use sockets::ClientState;
    ///
    /// let mut states = client.states();
    /// while let Some(state) = states.next().await {
    ///     match state {
    ///         ClientState::Connected { session, resumed, .. } => println!("session {session}, resumed: {resumed}"),
    ///         ClientState::Reconnecting { attempt, .. } => println!("reconnecting, attempt {attempt}"),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn states(&self) -> States<ClientState> {
        states_of(self.states.clone(), Arc::clone(self.peer.session()))
    }
}

/// A guard that closes the session when the last handle is dropped.
#[derive(Debug)]
struct CloseOnDrop(Arc<Session>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(DisconnectReason::Closed);
    }
}
