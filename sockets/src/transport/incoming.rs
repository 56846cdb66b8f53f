//! Accepted connections, and the facts that a server knows about them.

#[cfg(feature = "ws")]
use std::sync::{Arc, LazyLock};
use std::{future::Future, net::SocketAddr, pin::Pin};

#[cfg(feature = "tls")]
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::Link;
use crate::connect_error::AcceptError;

/// The facts about a connection: addresses, headers, certificates, credentials.
///
/// The function that is passed to `authenticate` can take this type as its second argument.
/// [`Socket::info`](crate::Socket::info) returns the facts about the current connection.
#[derive(Clone, Debug)]
pub struct ConnectInfo {
    pub(crate) remote_addr: Option<SocketAddr>,
    pub(crate) transport: &'static str,
    pub(crate) is_resumption: bool,
    pub(crate) credentials: Option<PeerCredentials>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The request of a WebSocket. It is shared, since a session keeps the facts of its connection.
    #[cfg(feature = "ws")]
    pub(crate) request: Option<Arc<http::request::Parts>>,
}

impl ConnectInfo {
    /// Creates the info of a connection. Only the transport of the connection is known.
    pub(crate) fn over(transport: &'static str) -> Self {
        Self {
            remote_addr: None,
            transport,
            is_resumption: false,
            credentials: None,
            #[cfg(feature = "tls")]
            certificates: Vec::new(),
            #[cfg(feature = "ws")]
            request: None,
        }
    }

    /// Returns the client's address. Returns `None` if the transport has no addresses.
    ///
    /// Behind a proxy, this is the proxy's address. `headers` may contain the client's own address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote_addr
    }

    /// Returns the transport's name: `"tcp"`, `"unix"`, `"tls"`, `"ws"`, `"wss"` or `"memory"`. For
    /// a transport of the user, the name is `"stream"` or `"messages"`.
    pub fn transport(&self) -> &str {
        self.transport
    }

    /// Returns `true` if the client presents a valid resumption token.
    ///
    /// The session resumes only if authentication returns the same identity. If a server admits
    /// only a single connection for each identity, it must admit this identity again. If the
    /// session cannot be resumed after all, the server authenticates the client once more, as a new
    /// client.
    pub fn is_resumption(&self) -> bool {
        self.is_resumption
    }

    /// Returns the peer's user and process, for Unix sockets.
    pub fn credentials(&self) -> Option<PeerCredentials> {
        self.credentials
    }

    /// Returns the certificate chain that the client presented over TLS. The first certificate is
    /// the client's own.
    ///
    /// The server's TLS configuration must request client certificates. The configuration also
    /// determines how they are verified: see [`tls::server_config`](crate::tls::server_config).
    /// Without TLS, the slice is empty.
    #[cfg(feature = "tls")]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Returns the path and the query of the WebSocket's HTTP request.
    ///
    /// Returns an empty string for other transports. In an axum application, the path is the whole
    /// path, even in a nested router.
    #[cfg(feature = "ws")]
    pub fn path(&self) -> &str {
        let path = self.request.as_ref().and_then(|request| request.uri.path_and_query());
        path.map_or("", http::uri::PathAndQuery::as_str)
    }

    /// Returns the headers of the WebSocket's HTTP request, including cookies.
    ///
    /// Returns an empty map for other transports.
    #[cfg(feature = "ws")]
    pub fn headers(&self) -> &http::HeaderMap {
        static NONE: LazyLock<http::HeaderMap> = LazyLock::new(http::HeaderMap::new);
        self.request.as_ref().map_or(&NONE, |request| &request.headers)
    }

    /// Returns the extensions of the WebSocket's HTTP request.
    ///
    /// Layers of an axum application insert such values, for example a session. For other
    /// transports, the method returns an empty collection.
    #[cfg(feature = "ws")]
    pub fn extensions(&self) -> &http::Extensions {
        static NONE: LazyLock<http::Extensions> = LazyLock::new(http::Extensions::new);
        self.request.as_ref().map_or(&NONE, |request| &request.extensions)
    }
}

/// The user and the process at the remote end of a Unix socket, as the system reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The process ID, if the system reports it.
    pub pid: Option<i32>,
}

/// A connection that a server has accepted.
#[allow(clippy::large_enum_variant, reason = "it is moved once or twice and not stored")]
pub(crate) enum Incoming {
    /// The connection is open.
    Open(Link, ConnectInfo),
    /// The connection is not open yet. The client first has to complete a TLS handshake or an
    /// upgrade to WebSocket.
    Opening(Connecting),
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Link, ConnectInfo), AcceptError>> + Send>>;

impl Incoming {
    /// Wraps a future that opens the connection, such as a TLS handshake.
    ///
    /// The task of the connection polls the future. During that time, the connection holds a
    /// handshake permit, and the timeout of the handshake runs.
    #[allow(dead_code, reason = "without features every connection is open at once")]
    pub(crate) fn opening(
        opening: impl Future<Output = Result<(Link, ConnectInfo), AcceptError>> + Send + 'static,
    ) -> Self {
        Self::Opening(Box::pin(opening))
    }
}
