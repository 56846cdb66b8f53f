//! Sockets at a path of an axum application.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use sockets::{Client, Identity, Server};
use sockets_tests::{PurchasesClient, PurchasesServer, Shop};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    raw::{CLOSE, FIN, Raw, frame, request},
    upgrade::{be_seen, seeing_server},
};

/// An application, its address, and what runs it.
async fn application<I: Identity>(server: &Server<I>) -> (SocketAddr, JoinHandle<()>) {
    let app = Router::new().route("/", get(|| async { "a page" })).route("/live", sockets::axum_route(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    (address, tokio::spawn(async { axum::serve(listener, app).await.unwrap() }))
}

/// The head of the answer to a request for `/live`.
async fn head(address: SocketAddr, headers: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.send(request(address, headers).replace("GET / ", "GET /live ").as_bytes()).await;
    raw.head().await
}

#[tokio::test]
async fn pages_and_sockets_are_on_one_port() {
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched())).build();
    let (address, _app) = application(&server).await;
    let client = Client::builder().connect(&format!("ws://{address}/live")).await.unwrap();
    assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));

    let mut page = Raw::connect(address).await;
    page.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(String::from_utf8(page.rest().await).unwrap().ends_with("a page"));

    server.shutdown().await;
    client.disconnected().await;
    let refused = Client::builder().connect(&format!("ws://{address}/live")).await.unwrap_err();
    assert!(refused.to_string().contains("shutting down"), "{refused}");
}

#[tokio::test]
async fn authentication_sees_the_request() {
    let server = seeing_server().build();
    let (address, _app) = application(&server).await;
    let mut raw = be_seen(&server, address).await;

    raw.send(&frame(FIN | CLOSE, &1001_u16.to_be_bytes())).await;
    raw.expect_close(1001).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_forbidden_unless_they_are_on_the_list() {
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
async fn what_is_no_request_for_a_websocket_is_told_so() {
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

/// The names of the library do not shadow the crates that it is used with.
mod glob_import {
    use sockets::*;

    #[test]
    fn glob_import_does_not_shadow_crates() {
        let server = Server::builder().build();
        let _app: axum::Router = axum::Router::new().route("/live", axum_route(&server));
    }
}
