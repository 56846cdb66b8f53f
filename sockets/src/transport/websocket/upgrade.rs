//! The server's side of the way from HTTP to WebSocket.

use std::{net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{self, Entry},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::{
    Error,
    error::ProtocolError,
    handshake::server::{create_response_with_body, write_response},
    protocol::Role,
};

use super::{
    Origins, SUBPROTOCOL,
    head::{self, HeadError},
    over_websocket,
};
use crate::{
    connect_error::AcceptError,
    transport::{FAREWELL, Handshake, Link},
};

/// How a request that does not become a WebSocket is answered.
#[derive(Debug)]
pub(crate) struct Declined {
    pub(crate) status: StatusCode,
    /// For the user.
    pub(crate) words: &'static str,
}

/// Who may come in at an address.
pub(crate) struct Entrance {
    origins: Origins,
    /// Without one, the WebSocket is at every path, and authentication may look at which.
    path: Option<String>,
}

impl Entrance {
    pub(crate) fn new(origins: &Origins, path: String) -> Self {
        Self { origins: origins.clone(), path: Some(path).filter(|path| path != "/") }
    }

    fn agree(&self, request: &Request<()>, peer: Option<SocketAddr>) -> Result<Response<()>, Declined> {
        if self.path.as_ref().is_some_and(|path| path != request.uri().path()) {
            return Err(Declined { status: StatusCode::NOT_FOUND, words: "the WebSocket is at another path" });
        }
        agree(request, &self.origins, peer)
    }
}

/// Reads a request, and answers it.
pub(crate) async fn accept<R, W>(
    mut reader: R,
    mut writer: W,
    entrance: Arc<Entrance>,
    handshake: Handshake,
) -> Result<(Link, Handshake), AcceptError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let answered = match head::read::<Request<()>>(&mut reader).await {
        Ok((request, read)) => match entrance.agree(&request, handshake.peer_addr) {
            Ok(response) => Ok((request, read, response)),
            Err(declined) => Err(declined),
        },
        Err(HeadError::Io(error)) => return Err(error.into()),
        Err(HeadError::Cut) => return Err(AcceptError::Handshake(HeadError::Cut.to_string())),
        Err(HeadError::NotHttp) => Err(Declined { status: StatusCode::BAD_REQUEST, words: "this is not HTTP/1.1" }),
        Err(HeadError::NotGet) => Err(NOT_GET),
        Err(HeadError::TooLong) => {
            Err(Declined { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, words: "the headers are too long" })
        }
    };
    match answered {
        Ok((request, read, response)) => {
            let mut head = Vec::new();
            write_response(&mut head, &response).map_err(|error| AcceptError::Handshake(error.to_string()))?;
            writer.write_all(&head).await?;
            writer.flush().await?;
            Ok((over_websocket(Role::Server, read, reader, writer), of_request(handshake, &request)))
        }
        Err(declined) => {
            decline(reader, writer, &declined).await;
            Err(declined.into())
        }
    }
}

/// Agrees to a request to become a WebSocket, or not.
pub(crate) fn agree<T>(
    request: &Request<T>,
    origins: &Origins,
    peer: Option<SocketAddr>,
) -> Result<Response<()>, Declined> {
    let mut response = create_response_with_body(request, || ()).map_err(|error| match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => NOT_GET,
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => Declined { status: StatusCode::UPGRADE_REQUIRED, words: "only WebSockets of version 13 are served here" },
        _ => Declined { status: StatusCode::BAD_REQUEST, words: "this is no request for a WebSocket" },
    })?;
    let forbidden = |words| Declined { status: StatusCode::FORBIDDEN, words };
    origins.check(request.headers(), peer).map_err(forbidden)?;
    if !offers(request.headers()) {
        let words = "the WebSocket has to offer the subprotocol sockets.v1";
        return Err(Declined { status: StatusCode::BAD_REQUEST, words });
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// A handshake that began with this request.
pub(crate) fn of_request<T>(handshake: Handshake, request: &Request<T>) -> Handshake {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let mut headers = request.headers().clone();
    for secret in [header::COOKIE, header::AUTHORIZATION] {
        // Nobody who prints a handshake wants them in a log.
        if let Entry::Occupied(mut values) = headers.entry(secret) {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    Handshake { path, headers, ..handshake }
}

const NOT_GET: Declined = Declined { status: StatusCode::METHOD_NOT_ALLOWED, words: "a WebSocket begins with GET" };

/// Whether the client speaks what is spoken here.
fn offers(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|names| names.split(',')).any(|name| name.trim() == SUBPROTOCOL)
}

impl Declined {
    /// Whoever has taken the request keeps its connection.
    #[cfg(feature = "axum")]
    pub(crate) const CANNOT: Self =
        Self { status: StatusCode::UPGRADE_REQUIRED, words: "this connection cannot become a WebSocket" };

    /// Too many are on their way in.
    #[cfg(feature = "axum")]
    pub(crate) const BUSY: Self =
        Self { status: StatusCode::SERVICE_UNAVAILABLE, words: "too many others are connecting: try again later" };

    /// The headers that go with the status.
    pub(crate) fn headers(&self) -> HeaderMap {
        let plain = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let more: &[_] = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => &[(header::ALLOW, HeaderValue::from_static("GET"))],
            StatusCode::UPGRADE_REQUIRED => &[
                (header::UPGRADE, HeaderValue::from_static("websocket")),
                (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            ],
            _ => &[],
        };
        [plain].into_iter().chain(more.iter().cloned()).collect()
    }
}

impl From<Declined> for AcceptError {
    fn from(Declined { status, words }: Declined) -> Self {
        Self::Handshake(format!("the request was answered with {status}: {words}"))
    }
}

/// Says no, and waits for the other side to have read it.
async fn decline(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin, declined: &Declined) {
    let mut response = Response::new(());
    *response.status_mut() = declined.status;
    *response.headers_mut() = declined.headers();
    let length = HeaderValue::from(declined.words.len() + 1);
    response
        .headers_mut()
        .extend([(header::CONTENT_LENGTH, length), (header::CONNECTION, HeaderValue::from_static("close"))]);
    let mut bytes = Vec::new();
    if write_response(&mut bytes, &response).is_err() {
        return;
    }
    bytes.extend_from_slice(declined.words.as_bytes());
    bytes.push(b'\n');
    let told = async {
        writer.write_all(&bytes).await?;
        writer.shutdown().await?;
        let mut rest = [0; 1024];
        while reader.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // It may have gone, or keep talking.
    let _ = tokio::time::timeout(FAREWELL, told).await;
}
