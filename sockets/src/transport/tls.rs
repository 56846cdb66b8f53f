//! TLS over a byte stream, for servers and clients.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client,
    rustls::{
        ClientConfig, Error, ServerConfig,
        pki_types::{CertificateDer, ServerName},
    },
    server,
};

use super::{ClientOptions, Link, over_stream};
use crate::{
    address::{AddressError, ParseAddressError},
    connect_error::{AcceptError, ConnectError},
    tls::client_config,
};

/// Performs the server's handshake. Returns the stream, and the client's certificate chain with the
/// client's own certificate first.
pub(crate) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<(server::TlsStream<TcpStream>, Vec<CertificateDer<'static>>), AcceptError> {
    let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| match tls_error(&error) {
        Some(error) => AcceptError::Handshake(describe(error)),
        None => AcceptError::Io(error),
    })?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    Ok((stream, certificates))
}

/// Performs the client's handshake. The server must present a certificate for `host`.
pub(crate) async fn connect(
    stream: TcpStream,
    host: &str,
    options: &ClientOptions,
) -> Result<client::TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| AddressError::new(host, ParseAddressError::NoCertificateName(host.to_owned())))?;
    let config = options.tls.as_ref().unwrap_or(&DEFAULT_CONFIG);
    Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
}

/// The default configuration, which trusts public certificate authorities.
#[expect(clippy::expect_used, reason = "the default configuration is the same in every program")]
static DEFAULT_CONFIG: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| Arc::new(client_config().build().expect("the default TLS configuration is valid")));

pub(super) fn link(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Link {
    let (read, write) = tokio::io::split(stream);
    over_stream(read, write)
}

/// Returns the error of a client's attempt to connect, if `error` comes from TLS.
pub(super) fn connect_error(error: &io::Error) -> Option<ConnectError> {
    tls_error(error).map(|error| match error {
        Error::InvalidCertificate(error) => ConnectError::Untrusted(error.to_string()),
        error => ConnectError::Handshake(describe(error)),
    })
}

fn describe(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => {
            format!("TLS: {error}; if the peer does not use TLS, give client and server the same scheme")
        }
        error => format!("TLS: {error}"),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
