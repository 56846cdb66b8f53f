//! TLS. The tests cover certificates of servers and clients, and errors of the handshake.

use std::{sync::Arc, time::Duration};

use sockets::{
    BindError, Client, ConnectError, ConnectInfo, Limits, Refusal, Server, Socket,
    tls::{
        client_config,
        rustls::pki_types::{CertificateDer, ServerName, pem::PemObject},
        server_config,
    },
};
use sockets_tests::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Starts a server with this certificate. Returns the server and its address.
async fn serve(certificate: &Certificate) -> (Server, String) {
    let server = Server::builder().tls(certificate.server()).bind("tls://127.0.0.1:0").await.unwrap();
    let url = format!("tls://{}", server.local_addr());
    (server, url)
}

/// Starts a server with the certificate for loopback. Returns the server and its address.
async fn serve_with(limits: Limits) -> (Server, String) {
    let server = Server::builder().limits(limits).tls(Arc::clone(&LOOPBACK.0)).bind("tls://127.0.0.1:0").await.unwrap();
    let url = format!("tls://{}", server.local_addr());
    (server, url)
}

fn trusting(authority: &Authority) -> sockets::ClientBuilder {
    Client::builder().tls(client_config().authorities(authority.pem().as_bytes()).build().unwrap())
}

#[tokio::test]
async fn certificate_of_a_trusted_authority_is_accepted() {
    let authority = Authority::new();
    let (server, url) = serve(&authority.sign("127.0.0.1")).await;
    let _by_address = trusting(&authority).connect(&url).await.unwrap();

    let (named, url) = serve(&authority.sign("localhost")).await;
    let url = url.replace("127.0.0.1", "localhost");
    let _by_name = trusting(&authority).connect(&url).await.unwrap();
    assert_eq!((server.sockets().len(), named.sockets().len()), (1, 1));
}

#[tokio::test]
async fn untrusted_certificate_fails_as_untrusted() {
    let authority = Authority::new();
    let (server, url) = serve(&authority.sign("127.0.0.1")).await;
    for client in [Client::builder(), trusting(&Authority::new())] {
        let failed = client.connect(&url).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Untrusted(_)), "{failed:?}");
        assert!(failed.to_string().starts_with("the server's certificate is not trusted: "), "{failed}");
    }
    let (other, url) = serve(&authority.sign("example.com")).await;
    let failed = trusting(&authority).connect(&url).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Untrusted(_)), "{failed:?}");
    assert!(server.sockets().is_empty() && other.sockets().is_empty());
}

/// A user that is identified by a certificate.
#[derive(Clone, sockets::Identity)]
struct User {
    #[identity(key)]
    certificate: Vec<u8>,
}

#[tokio::test]
async fn client_certificate_reaches_authentication() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let own = servers.sign("127.0.0.1");
    let config = server_config(own.chain.as_bytes(), own.key.as_bytes())
        .client_authorities(clients.pem().as_bytes())
        .build()
        .unwrap();
    let server = Server::builder().tls(config).authenticate(|(): (), handshake: ConnectInfo| async move {
        assert_eq!(handshake.transport(), "tls");
        assert!(handshake.remote_addr().is_some());
        let certificate = handshake.certificates().first().ok_or(Refusal::new("who?"))?.to_vec();
        Ok(User { certificate })
    });
    let server = server.bind("tls://127.0.0.1:0").await.unwrap();
    let url = format!("tls://{}", server.local_addr());
    let roots = servers.pem();
    let connect = async |certificate: Option<&Certificate>| {
        let certificate = certificate.map(|shown| (shown.chain.as_bytes(), shown.key.as_bytes()));
        let config = client_config().authorities(roots.as_bytes());
        let config = match certificate {
            Some((certificate, key)) => config.certificate(certificate, key),
            None => config,
        };
        Client::builder().tls(config.build().unwrap()).connect(&url).await
    };

    let ada = clients.sign("ada");
    let _client = connect(Some(&ada)).await.unwrap();
    let der = CertificateDer::from_pem_slice(ada.chain.as_bytes()).unwrap();
    assert!(server.socket(&*der).is_some());

    for stranger in [None, Some(&Authority::new().sign("ada"))] {
        let failed = connect(stranger).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
        assert!(failed.to_string().contains("TLS"), "{failed}");
    }
    assert_eq!(server.sockets().len(), 1);
}

#[tokio::test]
async fn tls_without_a_certificate_is_not_bound() {
    let failed = Server::builder().bind("tls://127.0.0.1:0").await.unwrap_err();
    assert!(matches!(failed, BindError::Listen { .. }), "{failed:?}");
    assert!(failed.to_string().contains("call `ServerBuilder::tls` first"), "{failed}");
}

#[tokio::test]
async fn address_in_use_is_not_bound() {
    let (server, url) = serve_with(Limits::default()).await;
    let failed = Server::builder().tls(Arc::clone(&LOOPBACK.0)).bind(&url).await.unwrap_err();
    assert!(failed.to_string().starts_with(&format!("cannot listen on {url}: ")), "{failed}");
    drop(server);
}

#[test]
fn invalid_certificate_error_states_the_cause() {
    let good = Authority::new().sign("localhost");
    let other = Authority::new().sign("localhost");
    let refused =
        |chain: &str, key: &str| server_config(chain.as_bytes(), key.as_bytes()).build().unwrap_err().to_string();
    assert_eq!(refused("", &good.key), "invalid PEM of certificates: it contains no certificate");
    assert!(refused(&good.chain, "").starts_with("invalid PEM of the private key: "));
    assert!(refused(&good.chain, &other.key).starts_with("invalid certificate or key: "));
    let failed = client_config().authorities(b"trust me").build().unwrap_err();
    assert_eq!(failed.to_string(), "invalid PEM of certificates: it contains no certificate");
}

#[tokio::test]
async fn plain_peer_fails_the_tls_handshake() {
    let (server, url) = serve_with(Limits::default()).await;
    let failed = Client::builder().connect(&url.replace("tls", "tcp")).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
    let _client = Transport::Tls.connect(&server, Client::builder()).await;

    let plain = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let client = Client::builder().tls(Arc::clone(&LOOPBACK.1));
    let failed = client.connect(&format!("tls://{}", plain.local_addr())).await.unwrap_err();
    assert!(matches!(&failed, ConnectError::Handshake(words) if words.starts_with("TLS")), "{failed:?}");
}

#[tokio::test]
async fn unfinished_tls_handshake_times_out() {
    let limits = Limits::new().authentication(Duration::from_millis(50));
    let (server, _) = serve_with(limits).await;
    let mut silent = TcpStream::connect(server.local_addr()).await.unwrap();
    let read = timeout(Duration::from_secs(8), silent.read(&mut [0; 1])).await.expect("it is hung up on");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn silent_tls_peers_make_way_for_a_client() {
    let limits = Limits::new().handshakes(2).authentication(Duration::from_secs(60));
    let (server, _) = serve_with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(server.local_addr()).await.unwrap());
    }
    let connecting = Transport::Tls.connect(&server, Client::builder());
    let _client = timeout(Duration::from_secs(15), connecting).await.expect("it gets in");
}

#[tokio::test]
async fn message_of_many_records_arrives_both_ways() {
    let server = Server::builder().tls(Arc::clone(&LOOPBACK.0)).connected(|socket: Socket| async move {
        socket.listen("echo", |text: String| async { text });
    });
    let server = server.bind("tls://127.0.0.1:0").await.unwrap();
    let client = Transport::Tls.connect(&server, Client::builder()).await;
    let text = "many records ".repeat(200_000);
    let echoed = client.request::<String>("echo", &text).await.unwrap();
    assert!(echoed == text, "{} bytes of {}", echoed.len(), text.len());
}

#[tokio::test]
async fn server_ends_with_a_tls_close_alert() {
    let (server, _) = serve_with(Limits::default()).await;
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(&LOOPBACK.1)).connect(name, stream).await.unwrap();
    // The client hello is invalid, so the server rejects it and closes the connection.
    stream.write_all(&[4, 0, 0, 0, b'W', b'H', b'A', b'T']).await.unwrap();
    let mut answer = Vec::new();
    // If the server did not send the alert that closes TLS, this read would fail.
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.is_empty());
}
