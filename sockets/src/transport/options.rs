//! Options of transports, set by the builders.

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::Compression;

/// The options of a listening transport.
#[derive(Clone, Default)]
pub(crate) struct ServerOptions {
    pub(crate) compression: Compression,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The origins of web pages that may connect over WebSocket.
    #[cfg(feature = "ws")]
    pub(crate) origins: super::Origins,
}

/// The options of a connecting transport.
#[derive(Clone, Default)]
pub(crate) struct ClientOptions {
    pub(crate) compression: Compression,
    /// The TLS configuration. If it is `None`, the client trusts public certificate authorities.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

#[cfg(feature = "tls")]
impl ServerOptions {
    /// Returns the TLS configuration, or an error if the builder has none.
    pub(super) fn tls(&self) -> std::io::Result<Arc<ServerConfig>> {
        let missing = "no TLS certificate; call `ServerBuilder::tls` first";
        self.tls.clone().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, missing))
    }
}
