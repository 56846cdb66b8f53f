//! Sockets at a path of an [axum] application: its pages and its sockets on one port.

use std::net::SocketAddr;

use ::axum::{
    body::Body,
    extract::{self, OriginalUri, Request},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use ::hyper::upgrade::{OnUpgrade, Upgraded};
use bytes::BytesMut;
use hyper_util::{
    rt::TokioIo,
    server::conn::auto::upgrade::{Parts, downcast},
};
use tokio::{net::TcpStream, time::timeout};
use tungstenite::protocol::Role;

use crate::{
    connect_error::AcceptError,
    server::{Identity, Server},
    transport::{
        ConnectInfo, Incoming, Link,
        websocket::{UpgradeError, accept_upgrade, of_request, over_websocket},
    },
};

/// Serves WebSockets at a path of a [`Router`](::axum::Router). A request for one becomes a connection to `server`; clients
/// reach it at `ws://host:port/path`, and browsers, too.
///
/// ```no_run
/// use axum::{Router, response::Html, routing::get};
/// use sockets::{Server, Socket};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .connected(|socket: Socket| async move { socket.join("everyone") })
///     .build();
/// let app = Router::new()
///     .route("/", get(|| async { Html("<h1>Hello</h1>") }))
///     .route("/live", sockets::axum_route(&server));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).await?;
/// # Ok(())
/// # }
/// ```
///
/// What the server is built with holds here, too: its limits, its authentication, and whose pages may connect
/// ([`origins`](crate::ServerBuilder::origins); by default those of the same host). A page that is refused is logged as a
/// warning, with its origin.
///
/// Authentication receives the request in its [`ConnectInfo`]: [`path`](ConnectInfo::path), the whole one also in a nested
/// router, [`headers`](ConnectInfo::headers) with their cookies, [`extensions`](ConnectInfo::extensions) with the values
/// that layers of the router have inserted, and [`peer_addr`](ConnectInfo::peer_addr) if the application is served by
/// `app.into_make_service_with_connect_info::<SocketAddr>()`.
///
/// A request is an upgrade over HTTP/1.1, or an extended CONNECT over HTTP/2 (RFC 8441) if axum's feature `http2` is
/// enabled. The transport's name is `ws`, also if a proxy in front of the application speaks TLS. A request that waits
/// too long for others that are connecting is answered with 503.
///
/// The route keeps the server open. [`Server::shutdown`] ends its connections; that the application stops, too, is up to
/// the application.
pub fn axum_route<S, I>(server: &Server<I>) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
    I: Identity,
{
    let server = server.clone();
    any(move |request: Request| {
        let server = server.clone();
        async move { upgrade(&server, request).await.unwrap_or_else(UpgradeError::into_response) }
    })
}

/// Answers a request, and goes on with its connection when the answer has been sent.
async fn upgrade<I: Identity>(server: &Server<I>, mut request: Request) -> Result<Response, UpgradeError> {
    let peer_addr = request.extensions().get::<extract::ConnectInfo<SocketAddr>>().map(|address| address.0);
    let response = accept_upgrade(&request, server.origins(), peer_addr)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(UpgradeError::NOT_UPGRADABLE)?;
    if let Some(OriginalUri(whole)) = request.extensions().get().cloned() {
        // A nested router has removed its prefix.
        *request.uri_mut() = whole;
    }
    let handshake = of_request(ConnectInfo { peer_addr, ..ConnectInfo::over("ws") }, request);
    let opening = async move {
        let upgraded = upgrade.await.map_err(|error| AcceptError::Handshake(error.to_string()))?;
        Ok((link(upgraded), handshake))
    };
    // While too many are on their way in, the others wait for their answer, but not longer than a handshake may take.
    let accepted =
        timeout(server.authentication_timeout(), server.accept_with_permit(Incoming::opening(opening))).await;
    accepted.map_err(|_| UpgradeError::BUSY)?;
    Ok(response.map(|()| Body::empty()))
}

/// A connection that axum has given away.
fn link(upgraded: Upgraded) -> Link {
    match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(Parts { io, read_buf, .. }) => {
            let stream = io.into_inner();
            // Messages are gathered before they are written; the system must not wait for more. It fails if the
            // connection is lost already, which the first read tells.
            let _ = stream.set_nodelay(true);
            let (reader, writer) = stream.into_split();
            over_websocket(Role::Server, read_buf.into(), reader, writer)
        }
        Err(upgraded) => {
            let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
            over_websocket(Role::Server, BytesMut::new(), reader, writer)
        }
    }
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        (self.status, self.headers(), format!("{}\n", self.reason)).into_response()
    }
}
