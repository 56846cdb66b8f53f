//! Somebody who has come to a server, and what is known of it.

use std::{future::Future, net::SocketAddr, pin::Pin};

#[cfg(feature = "tls")]
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::Link;
use crate::connect_error::AcceptError;

/// What a server knows of a peer before its login: the second argument that `authenticate` may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectInfo {
    /// Where the peer comes from, if the transport knows.
    pub peer_addr: Option<SocketAddr>,
    /// The transport's name: `"tcp"`, `"unix"`, `"tls"`, `"ws"`, `"wss"`, `"memory"`, or, where the user has brought it,
    /// `"stream"` or `"messages"`.
    pub transport: &'static str,
    pub(crate) is_resumption: bool,
    pub(crate) credentials: Option<PeerCredentials>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    #[cfg(feature = "ws")]
    pub(crate) path: String,
    #[cfg(feature = "ws")]
    pub(crate) headers: http::HeaderMap,
    #[cfg(feature = "ws")]
    pub(crate) extensions: http::Extensions,
}

impl ConnectInfo {
    /// Nothing is known but the way.
    pub(crate) fn over(transport: &'static str) -> Self {
        Self {
            peer_addr: None,
            transport,
            is_resumption: false,
            credentials: None,
            #[cfg(feature = "tls")]
            certificates: Vec::new(),
            #[cfg(feature = "ws")]
            path: String::new(),
            #[cfg(feature = "ws")]
            headers: http::HeaderMap::new(),
            #[cfg(feature = "ws")]
            extensions: http::Extensions::new(),
        }
    }

    /// Whether the client has shown the token of a session that is there, and goes on with that if it gets the identity that it has.
    /// Where an identity is given to one client at a time, it is given once more then. If the client cannot go on after all,
    /// authentication is asked again, as for a newcomer.
    pub fn is_resumption(&self) -> bool {
        self.is_resumption
    }

    /// Who the peer is to the system: for Unix sockets.
    pub fn credentials(&self) -> Option<PeerCredentials> {
        self.credentials
    }

    /// The certificates that the peer has shown over TLS, its own first. They have been verified as the server's
    /// configuration says, which has to ask for them: see [`tls::server_config`](crate::tls::server_config). Elsewhere
    /// there are none.
    #[cfg(feature = "tls")]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The path of the request that became this connection, with its query: for WebSockets. Elsewhere it is empty.
    ///
    /// In an axum application it is the whole path, also in a nested router.
    #[cfg(feature = "ws")]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The headers of the request that became this connection, cookies among them: for `ws` and `wss`. Elsewhere there
    /// are none.
    #[cfg(feature = "ws")]
    pub fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }

    /// The extensions of the request that became this connection: values that layers of an axum application have
    /// inserted, such as a session. Elsewhere there are none.
    #[cfg(feature = "ws")]
    pub fn extensions(&self) -> &http::Extensions {
        &self.extensions
    }
}

/// The user and the process at the other end of a Unix socket, as the system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The process, where the system tells.
    pub pid: Option<i32>,
}

/// A connection that a server has taken.
#[allow(clippy::large_enum_variant, reason = "it is handed on once or twice, and not kept")]
pub(crate) enum Incoming {
    /// It can be spoken with.
    Open(Link, ConnectInfo),
    /// The other side has to take part in opening it first: TLS, or an upgrade to WebSocket.
    Opening(Connecting),
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Link, ConnectInfo), AcceptError>> + Send>>;

impl Incoming {
    /// It is opened by the connection's own task, within the time for authentication and its turn.
    #[allow(dead_code, reason = "without features nothing has to be opened")]
    pub(crate) fn opening(
        opening: impl Future<Output = Result<(Link, ConnectInfo), AcceptError>> + Send + 'static,
    ) -> Self {
        Self::Opening(Box::pin(opening))
    }
}
