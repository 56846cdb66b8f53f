//! Certificates for TLS, and authorities that sign them.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sockets::tls::{
    client_config,
    rustls::{ClientConfig, ServerConfig},
    server_config,
};

/// A certificate authority that no client trusts by default.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Creates an authority.
    #[expect(clippy::new_without_default, reason = "each call creates another key")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, new_key()).expect("the authority's certificate"))
    }

    /// Returns the authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for a host.
    pub fn sign(&self, host: &str) -> Certificate {
        let (params, key) = (CertificateParams::new([host.to_owned()]).expect("a name"), new_key());
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Certificate {
    /// Returns the configuration of a server with this certificate.
    pub fn server(&self) -> ServerConfig {
        server_config(self.chain.as_bytes(), self.key.as_bytes()).build().expect("a configuration")
    }
}

/// The TLS configurations of servers and clients on loopback.
pub static LOOPBACK: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let authority = Authority::new();
    let client = client_config().authorities(authority.pem().as_bytes()).build().expect("a configuration");
    (authority.sign("127.0.0.1").server().into(), client.into())
});
