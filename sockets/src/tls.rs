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
//! let server = Server::builder().tls(tls::server_config(&chain, &key, None)?).bind("tls://0.0.0.0:7443").await?;
//!
//! // Not needed if a public authority issued the certificate of the server.
//! let authorities = std::fs::read("company.crt")?;
//! let client = Client::builder().tls(tls::client_config(Some(&authorities), None)?).connect("tls://shop:7443").await?;
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

/// Returns a configuration for a server.
///
/// `certificate` contains the certificate of the server in PEM, followed by the intermediate
/// certificates up to its authority. `key` is the private key of the certificate.
///
/// `clients` contains the certificates of authorities. If it is set, every client must present
/// a certificate that one of these authorities issued.
/// [`ConnectInfo::certificates`](crate::ConnectInfo::certificates) returns the certificates of a
/// client.
///
/// # Errors
///
/// The function fails if a parameter is not valid PEM, or if the key does not belong to the
/// certificate.
pub fn server_config(certificate: &[u8], key: &[u8], clients: Option<&[u8]>) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(with_context("TLS cannot be set up"))?;
    let builder = match clients {
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
            builder.with_client_cert_verifier(verifier.build().map_err(with_context("invalid client CA certificates"))?)
        }
        None => builder.with_no_client_auth(),
    };
    builder.with_single_cert(chain(certificate)?, private_key(key)?).map_err(with_context("invalid certificate or key"))
}

/// Returns a configuration for a client.
///
/// The client trusts a server only if one of the `authorities` issued its certificate. If
/// `authorities` is `None`, the client trusts the public authorities that Mozilla trusts.
///
/// `certificate` is an optional certificate of the client with its private key. The client presents
/// the certificate to servers that request it.
///
/// # Errors
///
/// The function fails if a parameter is not valid PEM, or if the key does not belong to the
/// certificate.
pub fn client_config(
    authorities: Option<&[u8]>,
    certificate: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, TlsError> {
    let roots = match authorities {
        Some(authorities) => roots(authorities)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(with_context("TLS cannot be set up"))?
        .with_root_certificates(roots);
    match certificate {
        Some((certificate, key)) => builder
            .with_client_auth_cert(chain(certificate)?, private_key(key)?)
            .map_err(with_context("invalid certificate or key")),
        None => Ok(builder.with_no_client_auth()),
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
