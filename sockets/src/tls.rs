//! Configurations of TLS, for [`ServerBuilder::tls`](crate::ServerBuilder::tls) and
//! [`ClientBuilder::tls`](crate::ClientBuilder::tls).
//!
//! These functions make the usual ones from PEM. Any other can be made with [`rustls`], which is given again here.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sockets::{Client, Server, tls};
//!
//! let (chain, key) = (std::fs::read("shop.crt")?, std::fs::read("shop.key")?);
//! let server = Server::builder().tls(tls::server_config(&chain, &key, None)?).bind("tls://0.0.0.0:7443").await?;
//!
//! // A server that public authorities vouch for needs no `tls` here.
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

/// Why a configuration cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {error}")]
pub struct TlsError {
    what: &'static str,
    error: String,
}

/// A server's configuration: its certificate, with those between it and its authority behind it, and the certificate's
/// key.
///
/// With `clients`, every client has to show a certificate that one of these authorities vouches for;
/// [`ConnectInfo::certificates`](crate::ConnectInfo::certificates) is what it shows.
///
/// # Errors
///
/// If something is not PEM, or does not go together.
pub fn server_config(certificate: &[u8], key: &[u8], clients: Option<&[u8]>) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(because("TLS cannot be set up"))?;
    let builder = match clients {
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
            builder.with_client_cert_verifier(verifier.build().map_err(because("the clients' authorities do not do"))?)
        }
        None => builder.with_no_client_auth(),
    };
    builder.with_single_cert(chain(certificate)?, private_key(key)?).map_err(because("the certificate does not do"))
}

/// A client's configuration. It trusts these `authorities` alone, or, without them, the public ones that Mozilla does.
///
/// A server that wants to know its clients is shown the `certificate`, which is given with its key.
///
/// # Errors
///
/// If something is not PEM, or does not go together.
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
        .map_err(because("TLS cannot be set up"))?
        .with_root_certificates(roots);
    match certificate {
        Some((certificate, key)) => builder
            .with_client_auth_cert(chain(certificate)?, private_key(key)?)
            .map_err(because("the certificate does not do")),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Named, so that a program with several of them in it needs no default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(because("the certificate of an authority does not do"))?;
    }
    Ok(roots)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(because("the certificates cannot be read"))?;
    if certificates.is_empty() {
        return Err(because("the certificates cannot be read")("there are none in it"));
    }
    Ok(certificates)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(because("the key cannot be read"))
}

fn because<E: ToString>(what: &'static str) -> impl FnOnce(E) -> TlsError {
    move |error| TlsError { what, error: error.to_string() }
}
