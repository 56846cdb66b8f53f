//! Configurations of TLS, for [`ServerBuilder::tls`](crate::ServerBuilder::tls) and
//! [`ClientBuilder::tls`](crate::ClientBuilder::tls).
//!
//! The functions of this module make common configurations from PEM. For any other configuration,
//! use [`rustls`], which is re-exported here.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sockets::{Client, Server, tls};
//!
//! let (chain, key) = (std::fs::read("shop.crt")?, std::fs::read("shop.key")?);
//! let server = Server::builder().tls(tls::server_config(&chain, &key).build()?).bind("tls://0.0.0.0:7443").await?;
//!
//! // Not needed if a public authority issued the certificate of the server.
//! let authorities = std::fs::read("company.crt")?;
//! let config = tls::client_config().authorities(&authorities).build()?;
//! let client = Client::builder().tls(config).connect("tls://shop:7443").await?;
//! # Ok(()) }
//! ```

use std::sync::Arc;

pub use tokio_rustls::rustls;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// The error of making a TLS configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{context}: {error}")]
pub struct TlsError {
    context: &'static str,
    error: String,
}

/// Returns a builder of the configuration of a server.
///
/// `certificate` contains the certificate of the server in PEM, followed by the intermediate
/// certificates up to its authority. `key` is the private key of the certificate, also in PEM.
pub fn server_config<'a>(certificate: &'a [u8], key: &'a [u8]) -> ServerConfigBuilder<'a> {
    ServerConfigBuilder { certificate, key, client_authorities: None }
}

/// A builder of the configuration of a server. [`server_config`] returns it.
#[derive(Clone, Copy)]
#[must_use = "a builder does nothing until it builds"]
pub struct ServerConfigBuilder<'a> {
    certificate: &'a [u8],
    key: &'a [u8],
    client_authorities: Option<&'a [u8]>,
}

impl<'a> ServerConfigBuilder<'a> {
    /// Requires a certificate of every client, and sets the authorities that issue these
    /// certificates, in PEM. Default: no client presents a certificate.
    ///
    /// [`ConnectInfo::certificates`](crate::ConnectInfo::certificates) returns the certificates of
    /// a client.
    pub fn client_authorities(self, authorities: &'a [u8]) -> Self {
        Self { client_authorities: Some(authorities), ..self }
    }

    /// Returns the configuration.
    ///
    /// # Errors
    ///
    /// The method fails if a parameter is not valid PEM, or if the key does not belong to the
    /// certificate.
    pub fn build(self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(with_context("TLS cannot be set up"))?;
        let builder = match self.client_authorities {
            Some(authorities) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
                let verifier = verifier.build().map_err(with_context("invalid client CA certificates"))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        builder
            .with_single_cert(chain(self.certificate)?, private_key(self.key)?)
            .map_err(with_context("invalid certificate or key"))
    }
}

impl std::fmt::Debug for ServerConfigBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfigBuilder").finish_non_exhaustive()
    }
}

/// Returns a builder of the configuration of a client.
pub fn client_config<'a>() -> ClientConfigBuilder<'a> {
    ClientConfigBuilder { authorities: None, certificate: None }
}

/// A builder of the configuration of a client. [`client_config`] returns it.
#[derive(Clone, Copy)]
#[must_use = "a builder does nothing until it builds"]
pub struct ClientConfigBuilder<'a> {
    authorities: Option<&'a [u8]>,
    certificate: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> ClientConfigBuilder<'a> {
    /// Sets the authorities, in PEM. The client trusts a server only if one of them issued its
    /// certificate. Default: the public authorities that Mozilla trusts.
    pub fn authorities(self, authorities: &'a [u8]) -> Self {
        Self { authorities: Some(authorities), ..self }
    }

    /// Sets the certificate of the client and its private key, both in PEM. The client presents the
    /// certificate to servers that request it. Default: no certificate.
    pub fn certificate(self, certificate: &'a [u8], key: &'a [u8]) -> Self {
        Self { certificate: Some((certificate, key)), ..self }
    }

    /// Returns the configuration.
    ///
    /// # Errors
    ///
    /// The method fails if a parameter is not valid PEM, or if the key does not belong to the
    /// certificate.
    pub fn build(self) -> Result<ClientConfig, TlsError> {
        let roots = match self.authorities {
            Some(authorities) => roots(authorities)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(with_context("TLS cannot be set up"))?
            .with_root_certificates(roots);
        match self.certificate {
            Some((certificate, key)) => builder
                .with_client_auth_cert(chain(certificate)?, private_key(key)?)
                .map_err(with_context("invalid certificate or key")),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

impl std::fmt::Debug for ClientConfigBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfigBuilder").finish_non_exhaustive()
    }
}

/// Returns the cryptography provider that all configurations use. Because the provider is explicit,
/// a program that links several providers does not have to set a default provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(with_context("invalid CA certificate"))?;
    }
    Ok(roots)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(with_context("invalid PEM of certificates"))?;
    if certificates.is_empty() {
        return Err(with_context("invalid PEM of certificates")("it contains no certificate"));
    }
    Ok(certificates)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(with_context("invalid PEM of the private key"))
}

fn with_context<E: ToString>(context: &'static str) -> impl FnOnce(E) -> TlsError {
    move |error| TlsError { context, error: error.to_string() }
}
