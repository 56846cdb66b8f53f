//! The members of an audience, as replies name them.

use std::sync::Arc;

use super::{Socket, SocketId};
use crate::session::Peer;

/// A client that a request to an audience was sent to, or a member of an audience.
///
/// A stub takes a member as it takes a socket. Clones refer to the same client. A member does not
/// keep the connection open.
///
/// ```
/// # use sockets::{CallError, Server};
/// # #[sockets::group("Lobby")]
/// # pub trait Lobby {
/// #     async fn vote(&self, choices: Vec<String>) -> String;
/// #     #[emit]
/// #     async fn message(&self, text: &str);
/// # }
/// # async fn example(server: &Server<String>) -> Result<(), CallError> {
/// let votes = LobbyClient::new(&server.room("lobby")).vote(vec!["tea".into()]);
/// if let Some((member, vote)) = votes.first_ok().await {
///     println!("{} votes for {vote}", member.identity());
///     LobbyClient::new(&member).message("your vote was the first").await?;
/// }
/// # Ok(()) }
/// ```
pub struct Member<I = ()>(Socket<I>);

impl<I> Member<I> {
    pub(super) fn new(socket: Socket<I>) -> Self {
        Self(socket)
    }

    /// Returns the ID of the member's session, as [`Socket::id`] does.
    pub fn id(&self) -> SocketId {
        self.0.id()
    }

    /// Returns the identity from the last authentication, as [`Socket::identity`] does.
    pub fn identity(&self) -> Arc<I> {
        self.0.identity()
    }

    /// Returns the member's socket, if the member is connected to this node. Servers do not form
    /// clusters yet, so every member has a socket.
    pub fn socket(&self) -> Option<Socket<I>> {
        Some(self.0.clone())
    }

    pub(super) fn local(&self) -> &Socket<I> {
        &self.0
    }

    pub(crate) fn peer(&self) -> &Peer {
        self.0.peer()
    }
}

impl<I> Clone for Member<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I> std::fmt::Debug for Member<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Member").field(&self.0).finish()
    }
}
