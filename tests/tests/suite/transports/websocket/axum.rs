//! Sockets that an axum application serves at a path.

use std::{future::poll_fn, net::SocketAddr, task::Poll};

use axum::{Extension, Router, http, routing::get};
use futures_util::FutureExt;
use sockets::{Client, ConnectInfo, Identity, Refusal, Server};
use sockets_tests::{
    PATIENCE, PurchasesClient, PurchasesServer, Seen, Shop, for_good,
    raw_websocket::{BINARY, CLIENT_HELLO, CLOSE, FIN, READY, Raw, frame, request},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::upgrade::{bad_requests, be_seen, seeing_server};

/// Starts an application. Returns its address and its task.
async fn application<I: Identity>(server: &Server<I>) -> (SocketAddr, JoinHandle<()>) {
    let app = Router::new().route("/", get(|| async { "a page" })).route("/live", sockets::axum_route(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    (address, tokio::spawn(async { axum::serve(listener, app).await.unwrap() }))
}

/// Requests `/live`, and returns the head of the response.
async fn head(address: SocketAddr, headers: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.send(request(address, headers).replace("GET / ", "GET /live ").as_bytes()).await;
    raw.head().await
}

#[tokio::test]
async fn pages_and_sockets_share_a_port() {
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched())).build();
    let (address, _app) = application(&server).await;
    let client = Client::builder().connect(&format!("ws://{address}/live")).await.unwrap();
    assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));

    let mut page = Raw::connect(address).await;
    page.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(String::from_utf8(page.rest().await).unwrap().ends_with("a page"));

    server.shutdown_with(for_good()).await;
    client.disconnected().await;
    let refused = Client::builder().connect(&format!("ws://{address}/live")).await.unwrap_err();
    assert!(refused.to_string().contains("closed for good"), "{refused}");
}

#[tokio::test]
async fn authentication_receives_the_upgrade_request() {
    let server = seeing_server().build();
    let (address, _app) = application(&server).await;
    let mut raw = be_seen(&server, address).await;

    raw.send(&frame(FIN | CLOSE, &1001_u16.to_be_bytes())).await;
    raw.expect_close(1001).await;
}

#[tokio::test]
async fn foreign_origin_is_forbidden_unless_listed() {
    let server = Server::builder().build();
    let (address, _app) = application(&server).await;
    assert!(head(address, &format!("Origin: http://{address}\r\n")).await.starts_with("HTTP/1.1 101 "));
    assert!(head(address, "").await.starts_with("HTTP/1.1 101 "));
    assert!(head(address, "Origin: http://evil.example\r\n").await.starts_with("HTTP/1.1 403 "));

    let listed = Server::builder().origins(["https://example.com"]).build();
    let (address, _app) = application(&listed).await;
    assert!(head(address, "Origin: https://example.com\r\n").await.starts_with("HTTP/1.1 101 "));
    assert!(head(address, &format!("Origin: http://{address}\r\n")).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn bad_request_is_refused_with_the_reason() {
    let server = Server::builder().build();
    let (address, _app) = application(&server).await;
    for (request, status, reason) in bad_requests(address) {
        let mut raw = Raw::connect(address).await;
        let request = request.replace(" / HTTP", " /live HTTP").replace("Upgrade\r\n", "Upgrade, close\r\n");
        raw.send(request.as_bytes()).await;
        let head = raw.head().await;
        assert_eq!(head.get(8..13), Some(&*format!(" {status} ")), "{request}\n{head}");
        let body = raw.body(&head).await;
        assert!(body.contains(reason), "{request}\n{head}{body}");
    }
}

/// A value that a layer of the application attaches to a request.
#[derive(Clone, Debug, PartialEq)]
struct User(&'static str);

#[tokio::test]
async fn authentication_receives_extensions_and_full_path() {
    let server = Server::builder().authenticate(|(): (), handshake: ConnectInfo| async move {
        let user = handshake.extensions().get::<User>().map(|user| user.0);
        Ok::<_, Refusal>(Seen((user, handshake.path().to_owned())))
    });
    let server = server.build();
    let live = Router::new().route("/live", sockets::axum_route(&server)).layer(Extension(User("ada")));
    let app = Router::new().nest("/api/v1", live);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _app = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    let _client = Client::builder().connect(&format!("ws://{address}/api/v1/live?room=1")).await.unwrap();
    let identity = server.sockets()[0].identity().clone();
    assert_eq!(identity.0, (Some("ada"), "/api/v1/live?room=1".to_owned()));
}

/// The client opens the WebSocket over HTTP/2, by an extended CONNECT.
#[tokio::test]
async fn websocket_over_http_2_is_a_session() {
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched())).build();
    let (address, _app) = application(&server).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let settings = poll_fn(|cx| {
        assert!(connection.poll_unpin(cx).is_pending(), "the connection stays open");
        if requests.is_extended_connect_protocol_enabled() { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(PATIENCE, settings).await.expect("the server enables the extended CONNECT");
    let _connection = tokio::spawn(connection);

    let connect = |offered: &str| {
        let request = http::Request::builder().method("CONNECT").uri(format!("http://{address}/live"));
        let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", offered);
        request.extension(h2::ext::Protocol::from_static("websocket")).body(()).unwrap()
    };
    let (refused, _) = requests.send_request(connect("chat"), true).unwrap();
    assert_eq!(refused.await.unwrap().status(), 400);
    let plain = http::Request::get(format!("http://{address}/live")).body(()).unwrap();
    assert_eq!(requests.send_request(plain, true).unwrap().0.await.unwrap().status(), 405);

    let (response, mut sent) = requests.send_request(connect("chat, sockets.v1"), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "sockets.v1");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    sent.send_data(frame(FIN | BINARY, CLIENT_HELLO).into(), false).unwrap();
    let mut body = response.into_body();
    let mut received = Vec::new();
    while !received.ends_with(&[FIN | BINARY, 1, READY]) {
        let data = timeout(PATIENCE, body.data()).await.expect("a welcome, and Ready").unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    assert_eq!(received[2..6], *b"SKTS");
    let socket = server.sockets()[0].clone();
    sent.send_data(frame(FIN | CLOSE, &1000_u16.to_be_bytes()).into(), true).unwrap();
    timeout(PATIENCE, socket.disconnected()).await.expect("the session ends");
}

#[tokio::test]
async fn non_websocket_request_is_refused_with_a_status() {
    let server = Server::builder().build();
    let (address, _app) = application(&server).await;
    let plain = "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned();
    let posted = plain.replace("GET", "POST");
    let unknown = request(address, "").replace("GET / ", "GET /live ").replace("sockets.v1", "sockets.v2");
    for (request, status) in [(plain, "426"), (posted, "405"), (unknown, "400")] {
        let mut raw = Raw::connect(address).await;
        raw.send(request.as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}

/// A program may import all names of the library by `*`. These names must not shadow the names of
/// crates that programs use with the library.
mod glob_import {
    use sockets::*;

    #[test]
    fn glob_import_does_not_shadow_crates() {
        let server = Server::builder().build();
        let _app: axum::Router = axum::Router::new().route("/live", axum_route(&server));
    }
}
