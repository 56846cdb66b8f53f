//! WebSockets at a path of an [axum] application, on the same port as its pages.

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
    identity::Identity,
    server::Server,
    transport::{
        ConnectInfo, Incoming, Link,
        websocket::{UpgradeError, accept_upgrade, connect_info, over_websocket},
    },
};

/// Returns a route that serves WebSockets at a path of a [`Router`](::axum::Router).
///
/// Each request for a WebSocket opens a connection to `server`. Clients, including browsers,
/// connect to `ws://host:port/path`.
///
/// ```no_run
/// use axum::{Router, response::Html, routing::get};
/// use sockets::{Server, Socket};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .connected(|socket: Socket| async move { Ok(socket.join("everyone")?) })
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
/// The settings of the server's builder apply: its limits, its authentication and its
/// [`origins`](crate::ServerBuilder::origins). By default, only pages of the same host may connect.
/// When the server refuses a page, it logs a warning with the page's origin.
///
/// The server's authentication receives the facts of the request in its [`ConnectInfo`]:
///
/// - [`path`](ConnectInfo::path) returns the whole path, even in a nested router.
/// - [`headers`](ConnectInfo::headers) returns all headers, including the cookies.
/// - [`extensions`](ConnectInfo::extensions) returns the values that layers of the router inserted.
/// - [`remote_addr`](ConnectInfo::remote_addr) is the client's address, if the application is served by
///   `app.into_make_service_with_connect_info::<SocketAddr>()`.
///
/// Over HTTP/1.1, the request is an upgrade. Over HTTP/2, it is an extended CONNECT (RFC 8441),
/// which requires axum's feature `http2`. The transport's name is `ws`, even if a proxy before the
/// application terminates TLS.
///
/// At most [`Limits::handshakes`](crate::Limits::handshakes) clients connect at the same time. If a
/// request waits for its permit for longer than
/// [`Limits::authentication`](crate::Limits::authentication), the route responds with status 503.
///
/// The route keeps the server open. [`Server::shutdown`] ends the connections of the server, but
/// does not stop the application.
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

/// Responds to a request. After the response has been sent, serves the connection.
async fn upgrade<I: Identity>(server: &Server<I>, mut request: Request) -> Result<Response, UpgradeError> {
    let remote_addr = request.extensions().get::<extract::ConnectInfo<SocketAddr>>().map(|address| address.0);
    let response = accept_upgrade(&request, server.origins(), remote_addr)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(UpgradeError::NOT_UPGRADABLE)?;
    if let Some(OriginalUri(whole)) = request.extensions().get().cloned() {
        // A nested router removes its prefix from the URI of the request.
        *request.uri_mut() = whole;
    }
    let handshake = connect_info(ConnectInfo { remote_addr, ..ConnectInfo::over("ws") }, request);
    let opening = async move {
        let upgraded = upgrade.await.map_err(|error| AcceptError::Handshake(error.to_string()))?;
        Ok((link(upgraded), handshake))
    };
    // The response waits for a permit, but not longer than the time limit of a handshake.
    let accepted =
        timeout(server.authentication_timeout(), server.accept_with_permit(Incoming::opening(opening))).await;
    accepted.map_err(|_| UpgradeError::BUSY)?;
    Ok(response.map(|()| Body::empty()))
}

/// Makes a link of an upgraded connection.
fn link(upgraded: Upgraded) -> Link {
    match downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(Parts { io, read_buf, .. }) => {
            let stream = io.into_inner();
            // Messages are batched before they are written, so the system must not delay them. The
            // call fails only if the connection is lost already. The error is ignored, because the
            // first read also reports the loss.
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
