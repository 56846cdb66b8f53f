//! What transports are told by the builders.

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::Compression;

/// For the side that listens.
#[derive(Clone, Default)]
pub(crate) struct ServerOptions {
    pub(crate) compression: Compression,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Which pages may connect over WebSockets.
    #[cfg(feature = "ws")]
    pub(crate) origins: super::Origins,
}

/// For the side that connects.
#[derive(Clone, Default)]
pub(crate) struct ClientOptions {
    pub(crate) compression: Compression,
    /// Without one, public authorities are trusted.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

#[cfg(feature = "tls")]
impl ServerOptions {
    /// The configuration, without which a server cannot listen for TLS.
    pub(super) fn tls(&self) -> std::io::Result<Arc<ServerConfig>> {
        let missing = "the builder was given no certificate: call its method `tls` first";
        self.tls.clone().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, missing))
    }
}
