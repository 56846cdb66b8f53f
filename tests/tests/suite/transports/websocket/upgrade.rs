//! The upgrade from HTTP. The tests cover accepted and refused requests, origins and paths.

use std::{net::SocketAddr, time::Duration};

use sockets::{Client, ConnectError, ConnectInfo, Limits, Refusal, Server, ServerBuilder};

use sockets_tests::{
    Seen,
    raw_websocket::{BINARY, CLIENT_HELLO, FIN, Raw, frame, request},
};

async fn server() -> Server {
    Server::builder().bind("ws://127.0.0.1:0").await.unwrap()
}

/// Sends a request that the server must refuse, and returns the whole response.
async fn answer(server: &Server, request: &str) -> String {
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(request.as_bytes()).await;
    String::from_utf8(raw.rest().await).unwrap()
}

/// Sends an upgrade request with these headers, and returns the head of the response.
async fn head(server: &Server, headers: &str) -> String {
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(request(server.local_addr(), headers).as_bytes()).await;
    raw.head().await
}

#[tokio::test]
async fn upgrade_is_answered_as_rfc_6455_requires() {
    let head = head(&server().await, "").await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-protocol: sockets.v1\r\n"), "{head}");
    assert!(!head.contains("extensions"), "{head}");
}

#[tokio::test]
async fn foreign_origin_is_forbidden_unless_listed() {
    let server = server().await;
    let own = format!("Origin: http://{}\r\n", server.local_addr());
    assert!(head(&server, &own).await.starts_with("HTTP/1.1 101 "));
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1", ""] {
        let head = head(&server, &format!("Origin: {foreign}\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{foreign:?}: {head}");
    }

    let listed = Server::builder().origins(["https://example.com"]).bind("ws://127.0.0.1:0").await.unwrap();
    assert!(head(&listed, "Origin: https://example.com\r\n").await.starts_with("HTTP/1.1 101 "));
    let own = format!("Origin: http://{}\r\n", listed.local_addr());
    assert!(head(&listed, &own).await.starts_with("HTTP/1.1 403 "));
    assert!(head(&listed, "").await.starts_with("HTTP/1.1 101 "), "programs that are no browsers are not asked");
}

#[tokio::test]
async fn dns_rebinding_page_is_forbidden() {
    let server = server().await;
    let port = server.local_addr().port();
    let rebound = request(server.local_addr(), &format!("Origin: http://evil.example:{port}\r\n"))
        .replace("Host: 127.0.0.1", "Host: evil.example");
    let answer = answer(&server, &rebound).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

/// Returns requests that the server must refuse. Each request comes with the status of the response
/// and a part of its reason.
pub(super) fn bad_requests(address: SocketAddr) -> Vec<(String, &'static str, &'static str)> {
    let good = request(address, "");
    let host = format!("Host: {address}\r\n");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let with = |headers: &str| request(address, headers);
    vec![
        (good.replace("GET", "POST"), "405", "GET"),
        (good.replace("Upgrade: WebSocket", "X: y"), "426", "only WebSocket connections"),
        (good.replace("Connection: keep-alive, Upgrade", "Connection: close"), "426", "only WebSocket connections"),
        (good.replace("Version: 13", "Version: 8"), "426", "version 13"),
        (with("Sec-WebSocket-Version: 13\r\n"), "426", "version 13"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), "400", "HTTP/1"),
        (good.replace(&host, ""), "400", "Host"),
        (good.replace(&host, "Host:\r\n"), "400", "Host"),
        (good.replace(&host, "Host: a b\r\n"), "400", "Host"),
        (good.replace(&host, "Host: user@localhost\r\n"), "400", "Host"),
        (with(&host), "400", "Host"),
        (good.replace("Sec-WebSocket-Key", "X-Key"), "400", "Sec-WebSocket-Key"),
        (good.replace(key, ""), "400", "Sec-WebSocket-Key"),
        (good.replace(key, "c2hvcnQ="), "400", "Sec-WebSocket-Key"),
        (good.replace(key, "dGhlIHNhbXBsZSBub25jZSE="), "400", "Sec-WebSocket-Key"),
        (with(&format!("Sec-WebSocket-Key: {key}\r\n")), "400", "Sec-WebSocket-Key"),
        (with("Content-Length: 5\r\n"), "400", "body"),
        (with("Transfer-Encoding: chunked\r\n"), "400", "body"),
        (good.replace("sockets.v1", "sockets.v2"), "400", "sockets.v1"),
        (good.replace("Sec-WebSocket-Protocol", "X-Protocol"), "400", "sockets.v1"),
    ]
}

#[tokio::test]
async fn header_lists_may_span_several_lines() {
    let server = server().await;
    let several = request(server.local_addr(), "Sec-WebSocket-Protocol: sockets.v1\r\nContent-Length: 0\r\n")
        .replace("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: Upgrade")
        .replace("Upgrade: WebSocket", "Upgrade: h2c\r\nUpgrade: websocket")
        .replace("chat, sockets.v1", "chat");
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(several.as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn bad_request_is_refused_with_the_reason() {
    let server = server().await;
    for (request, status, reason) in bad_requests(server.local_addr()) {
        let answer = answer(&server, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(reason), "{request}\n{answer}");
    }
}

#[tokio::test]
async fn non_upgrade_request_is_refused_with_a_status() {
    let server = server().await;
    let good = request(server.local_addr(), "");
    let long = request(server.local_addr(), &format!("Cookie: {}\r\n", "x".repeat(17_000)));
    let many = request(server.local_addr(), &"X: y\r\n".repeat(130));
    let cases = [
        (many, "431"),
        (good.replace("GET /", &format!("GET /{}", "x".repeat(17_000))), "414"),
        (good.replace("\r\n\r\n", "\r\nX: y\r\n folded: z\r\n\r\n"), "400"),
        (good.replace("GET", "POST"), "405"),
        (good.replace("Upgrade: WebSocket", "X: y"), "426"),
        (good.replace("Version: 13", "Version: 8"), "426"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        (good.replace("Sec-WebSocket-Key", "X-Key"), "400"),
        (good.replace("sockets.v1", "sockets.v2"), "400"),
        (good.replace("Sec-WebSocket-Protocol", "X-Protocol"), "400"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        (good.replace("Host:", "Ho st:"), "400"),
        ("\u{1a}\0\0\0SKTS\u{1}".to_owned(), "400"),
        (long, "431"),
    ];
    for (request, status) in cases {
        let answer = answer(&server, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(answer.ends_with('\n') && answer.contains("\r\n\r\n"), "{answer}");
    }
    assert!(server.sockets().is_empty());
}

#[tokio::test]
async fn unfinished_upgrade_times_out() {
    let limits = Limits::new().authentication(Duration::from_millis(200));
    let server = Server::builder().limits(limits).bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n").await;
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn websocket_at_a_path_is_at_that_path_alone() {
    let server = Server::builder().bind("ws://127.0.0.1:0/live").await.unwrap();
    let address = server.local_addr();
    Client::builder().connect(&format!("ws://{address}/live?room=1")).await.unwrap();
    let elsewhere = Client::builder().connect(&format!("ws://{address}/dead")).await.unwrap_err();
    let ConnectError::Handshake(message) = &elsewhere else { panic!("{elsewhere}") };
    assert!(message.contains("404") && message.ends_with("no WebSocket is served at this path"), "{message}");
}

/// The input of authentication. The fields are the transport, the path, a cookie, and `true` for a
/// loopback address.
type Input = (String, String, Option<String>, bool);

/// Returns a server. Its authentication returns the input as the identity.
pub(super) fn seeing_server() -> ServerBuilder<Seen<Input>> {
    Server::builder().authenticate(|(): (), handshake: ConnectInfo| async move {
        assert!(!format!("{handshake:?}").contains("session"), "cookies do not get into logs");
        let cookie = handshake.headers().get("cookie").and_then(|cookie| cookie.to_str().ok()).map(str::to_owned);
        let address = handshake.remote_addr().ok_or_else(|| Refusal::new("no address"))?;
        let (transport, path) = (handshake.transport().to_owned(), handshake.path().to_owned());
        Ok::<_, Refusal>(Seen((transport, path, cookie, address.ip().is_loopback())))
    })
}

/// Connects to a [`seeing_server`] at this address, and checks the identity.
pub(super) async fn be_seen(server: &Server<Seen<Input>>, address: SocketAddr) -> Raw {
    let mut raw = Raw::connect(address).await;
    let request = request(address, "Cookie: session=42\r\n").replace("GET / ", "GET /live?room=1 ");
    // A client need not wait for the response. If the client sends bytes after its request, the
    // server must not lose them.
    raw.send(&[request.as_bytes(), &frame(FIN | BINARY, CLIENT_HELLO)].concat()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.message().await[6], 0, "welcome");
    raw.message().await;
    let info = server.sockets()[0].info();
    assert_eq!(info.path(), "/live?room=1");
    assert_eq!(info.headers()["cookie"], "session=42");
    let identity = server.sockets()[0].identity();
    assert_eq!(identity.0, ("ws".to_owned(), "/live?room=1".to_owned(), Some("session=42".to_owned()), true));
    raw
}

#[tokio::test]
async fn authentication_receives_the_upgrade_request() {
    let server = seeing_server().bind("ws://127.0.0.1:0").await.unwrap();
    be_seen(&server, server.local_addr()).await;
}

#[tokio::test]
async fn client_error_states_why_there_is_no_websocket() {
    let tcp = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let error = Client::builder().connect(&format!("ws://{}", tcp.local_addr())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_)), "{error}");

    let ws = server().await;
    let error = Client::builder().connect(&format!("tcp://{}", ws.local_addr())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_)), "{error}");

    let error = Client::builder().connect(&format!("ws://{}/a path", ws.local_addr())).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Address(invalid) if invalid.to_string().contains("/a path")), "{error}");
}

#[tokio::test]
async fn userinfo_of_an_address_reaches_authentication() {
    let server = Server::builder().authenticate(|(): (), handshake: ConnectInfo| async move {
        let authorization = handshake.headers().get("authorization").and_then(|value| value.to_str().ok());
        Ok::<_, Refusal>(authorization.unwrap_or_default().to_owned())
    });
    let server = server.bind("ws://127.0.0.1:0").await.unwrap();
    let url = format!("WS://Aladdin:open%20sesame@{}/", server.local_addr());
    let _client = Client::builder().connect(&url).await.unwrap();
    assert_eq!(*server.sockets()[0].identity(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[tokio::test]
async fn address_errors_hide_the_password() {
    let tcp = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr();
    for url in [
        format!("ws://user:secret@{address}"),
        format!("ws://user:secret@{address}/a path"),
        "ws://user:secret@localhost:1".to_owned(),
        "ws://user:secret@host.invalid/".to_owned(),
        format!("tcp://user:secret@{address}"),
        format!("tls://user:secret@{address}"),
        "unix://user:secret@/run/shop.sock".to_owned(),
        "user:secret@localhost:1".to_owned(),
    ] {
        let error = Client::builder().connect(&url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        let error = Server::builder().bind(&url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
