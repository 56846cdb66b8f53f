//! The server's upgrade from HTTP to WebSocket.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, Entry},
    uri,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tungstenite::{
    handshake::{derive_accept_key, server::write_response},
    protocol::Role,
};

use super::{
    Origins, SUBPROTOCOL, UpgradeError, fields,
    head::{self, HeadError},
    over_websocket,
};
use crate::{
    connect_error::AcceptError,
    lock::event,
    transport::{CLOSE_TIMEOUT, ConnectInfo, Link, discard, poll_discard},
};

/// The conditions under which a listener accepts upgrades.
pub(crate) struct UpgradePolicy {
    origins: Origins,
    /// The required path. If it is `None`, every path is accepted, and authentication may check the
    /// path.
    path: Option<String>,
}

impl UpgradePolicy {
    pub(crate) fn new(origins: &Origins, path: String) -> Self {
        Self { origins: origins.clone(), path: Some(path).filter(|path| path != "/") }
    }

    fn check(&self, request: &Request<()>, peer: Option<SocketAddr>) -> Result<Response<()>, UpgradeError> {
        if self.path.as_ref().is_some_and(|path| path != request.uri().path()) {
            return Err(UpgradeError::new(StatusCode::NOT_FOUND, "no WebSocket is served at this path"));
        }
        accept_upgrade(request, &self.origins, peer)
    }
}

/// Reads a request, and upgrades or rejects it.
pub(crate) async fn accept<R, W>(
    mut reader: R,
    mut writer: W,
    policy: Arc<UpgradePolicy>,
    info: ConnectInfo,
) -> Result<(Link, ConnectInfo), AcceptError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut read = BytesMut::new();
    let checked = match head::read::<Request<()>>(&mut reader, &mut read).await {
        Ok(request) => policy.check(&request, info.remote_addr).map(|response| (request, response)),
        Err(HeadError::Io(error)) => return Err(error.into()),
        Err(HeadError::Cut) => return Err(AcceptError::Handshake(HeadError::Cut.to_string())),
        Err(HeadError::NotHttp) => {
            Err(UpgradeError::bad_request("the request is not HTTP/1.1; use `ws://` or `wss://` in the client"))
        }
        Err(HeadError::Old) => {
            Err(UpgradeError::bad_request("WebSocket requires HTTP/1.1, and the request is HTTP/1.0"))
        }
        Err(HeadError::Malformed(_)) => Err(UpgradeError::bad_request("the HTTP request is malformed")),
        Err(HeadError::NotGet) => Err(UpgradeError::NOT_GET),
        Err(HeadError::LineTooLong) => {
            Err(UpgradeError::new(StatusCode::URI_TOO_LONG, "the path is too long; shorten its query"))
        }
        Err(HeadError::TooLong) => {
            let reason = "the headers are too long; send fewer cookies";
            Err(UpgradeError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason))
        }
        Err(HeadError::TooMany) => {
            let reason = "the request has too many headers; send at most 124";
            Err(UpgradeError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason))
        }
    };
    match checked {
        Ok((request, response)) => {
            let mut head = Vec::new();
            write_response(&mut head, &response).map_err(|error| AcceptError::Handshake(error.to_string()))?;
            writer.write_all(&head).await?;
            writer.flush().await?;
            Ok((over_websocket(Role::Server, read, reader, writer), connect_info(info, request)))
        }
        Err(error) => {
            reject_upgrade(reader, writer, &error).await;
            Err(error.into())
        }
    }
}

/// Checks an upgrade request. Returns the response that accepts the request.
///
/// Over HTTP/1.1, the request is an upgrade (RFC 6455, 4.2). Over HTTP/2, the request is an
/// extended CONNECT (RFC 8441).
pub(crate) fn accept_upgrade<T>(
    request: &Request<T>,
    origins: &Origins,
    peer: Option<SocketAddr>,
) -> Result<Response<()>, UpgradeError> {
    let headers = request.headers();
    let mut response = Response::new(());
    if request.version() == Version::HTTP_2 {
        // Do not check that the CONNECT request is extended, and so has a `:protocol`. In HTTP/2,
        // only an extended CONNECT request has a path.
        if request.method() != Method::CONNECT {
            return Err(UpgradeError::NOT_CONNECT);
        }
        check_version(headers)?;
    } else {
        let accept = check_upgrade(request)?;
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let accept = [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        response.headers_mut().extend(accept);
    }
    if has_body(headers) {
        return Err(UpgradeError::bad_request("the upgrade request must not have a body"));
    }
    let host = host(request)?;
    origins.check(headers, host, peer).map_err(|reason| {
        let origin = headers.get_all(header::ORIGIN).iter().map(|origin| String::from_utf8_lossy(origin.as_bytes()));
        let origin = origin.collect::<Vec<_>>().join(", ");
        event!(
            warn,
            origin = ?origin,
            host = ?host,
            reason,
            "WebSocket rejected because of its Origin; to accept the page, add it to `ServerBuilder::origins`"
        );
        UpgradeError::new(StatusCode::FORBIDDEN, reason)
    })?;
    if !fields::elements(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|name| name == SUBPROTOCOL) {
        return Err(UpgradeError::bad_request("the request does not offer the subprotocol sockets.v1"));
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// Checks an upgrade over HTTP/1.1. Returns the value of `Sec-WebSocket-Accept`.
fn check_upgrade<T>(request: &Request<T>) -> Result<HeaderValue, UpgradeError> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(UpgradeError::NOT_GET);
    }
    if request.version() != Version::HTTP_11 {
        return Err(UpgradeError::bad_request("WebSocket requires HTTP/1.1 or HTTP/2"));
    }
    if !fields::has(headers, header::CONNECTION, "upgrade") || !fields::has(headers, header::UPGRADE, "websocket") {
        return Err(UpgradeError::new(
            StatusCode::UPGRADE_REQUIRED,
            "the server accepts only WebSocket connections at this path",
        ));
    }
    check_version(headers)?;
    let key = fields::single(headers, header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key =
        key.ok_or(UpgradeError::bad_request("the request needs a single Sec-WebSocket-Key of 16 bytes in base64"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    accept.map_err(|_| UpgradeError::bad_request("the Sec-WebSocket-Key is invalid"))
}

fn check_version(headers: &HeaderMap) -> Result<(), UpgradeError> {
    let is_13 = fields::single(headers, header::SEC_WEBSOCKET_VERSION) == Some("13");
    let error = UpgradeError::new(StatusCode::UPGRADE_REQUIRED, "the server supports only WebSocket version 13");
    if is_13 { Ok(()) } else { Err(error) }
}

/// Returns `true` if `key` is the base64 encoding of 16 bytes.
fn is_key(key: &str) -> bool {
    let digits = key.strip_suffix("==").unwrap_or_default();
    digits.len() == 22 && digits.bytes().all(|digit| digit.is_ascii_alphanumeric() || digit == b'+' || digit == b'/')
}

fn has_body(headers: &HeaderMap) -> bool {
    let has_length = headers.contains_key(header::CONTENT_LENGTH);
    let is_empty = fields::single(headers, header::CONTENT_LENGTH) == Some("0");
    headers.contains_key(header::TRANSFER_ENCODING) || has_length && !is_empty
}

/// Returns the host of a request.
///
/// Over HTTP/1.1, a request must have a single `Host`. If its target has an authority, the
/// authority overrides the `Host` (RFC 9112, 3.2).
fn host<T>(request: &Request<T>) -> Result<&str, UpgradeError> {
    let host = fields::single(request.headers(), header::HOST).filter(|host| is_host(host));
    let target = request.uri().authority().map(uri::Authority::as_str).filter(|host| is_host(host));
    let host =
        if request.version() == Version::HTTP_2 { target.or(host) } else { host.map(|host| target.unwrap_or(host)) };
    host.ok_or(UpgradeError::bad_request("the request needs a single Host: a host name with an optional port"))
}

fn is_host(host: &str) -> bool {
    !host.contains('@') && host.parse::<uri::Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

/// Adds the facts of the upgrade request to `info`.
pub(crate) fn connect_info<T>(info: ConnectInfo, request: Request<T>) -> ConnectInfo {
    let (mut parts, _) = request.into_parts();
    for secret in [header::COOKIE, header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
        // Secrets must not appear in the `Debug` output of a `ConnectInfo`.
        if let Entry::Occupied(mut values) = parts.headers.entry(secret) {
            values.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    ConnectInfo { request: Some(Arc::new(parts)), ..info }
}

/// Sends the error response, and waits until the client has read it.
async fn reject_upgrade(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin, error: &UpgradeError) {
    let mut response = Response::new(());
    *response.status_mut() = error.status;
    *response.headers_mut() = error.headers();
    let length = HeaderValue::from(error.reason.len() + 1);
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
    let mut bytes = Vec::new();
    if write_response(&mut bytes, &response).is_err() {
        return;
    }
    bytes.extend_from_slice(error.reason.as_bytes());
    bytes.push(b'\n');
    let sent = async {
        writer.write_all(&bytes).await?;
        writer.shutdown().await?;
        let mut rest = [0; 1024];
        discard(|cx| {
            poll_discard(cx, |cx| {
                let mut rest = ReadBuf::new(&mut rest);
                let read = Pin::new(&mut reader).poll_read(cx, &mut rest);
                read.map(|read| read.is_ok() && !rest.filled().is_empty())
            })
        })
        .await;
        std::io::Result::Ok(())
    };
    // The outcome is ignored, since the client may have left, or may send without end.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, sent).await;
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{self, Write},
        sync::atomic::{AtomicU32, Ordering},
        task::{Context, Poll},
    };

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, duplex, split};
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;
    use crate::lock::Mutex;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get("/live");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    const GOOD: [(&str, &str); 6] = [
        ("Host", "example.com"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Protocol", "chat, sockets.v1"),
    ];

    fn upgrade(headers: &[(&str, &str)]) -> Result<Response<()>, UpgradeError> {
        accept_upgrade(&request(headers), &Origins::default(), None)
    }

    #[test]
    fn lists_over_several_lines_are_accepted() {
        let others =
            GOOD.iter().filter(|(name, _)| ["Host", "Sec-WebSocket-Version", "Sec-WebSocket-Key"].contains(name));
        let lists = [
            ("Connection", "keep-alive"),
            ("Connection", "upgrade"),
            ("Upgrade", "h2c"),
            ("Upgrade", "WebSocket"),
            ("Sec-WebSocket-Protocol", "chat"),
            ("Sec-WebSocket-Protocol", "sockets.v1"),
        ];
        let response = upgrade(&others.copied().chain(lists).collect::<Vec<_>>()).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn key_has_16_bytes_in_base64() {
        assert!(is_key(KEY));
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZWE=",
            &KEY.replace('I', "-"),
        ] {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn authority_of_target_overrides_host() {
        let mut request = request(&GOOD);
        assert_eq!(host(&request), Ok("example.com"));
        *request.uri_mut() = "ws://user@other.example/live".parse().unwrap();
        assert_eq!(host(&request), Ok("example.com"), "an authority with a user is ignored");
        *request.uri_mut() = "ws://other.example:80/live".parse().unwrap();
        assert_eq!(host(&request), Ok("other.example:80"));
        request.headers_mut().remove(header::HOST);
        assert!(host(&request).is_err());
        *request.version_mut() = Version::HTTP_2;
        assert_eq!(host(&request), Ok("other.example:80"));
    }

    /// A subscriber that stores the fields of the last event.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            struct Fields(String);
            impl Visit for Fields {
                fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                    write!(self.0, "{field}={value:?} ").unwrap();
                }
            }
            let mut fields = Fields(format!("{} ", event.metadata().level()));
            event.record(&mut fields);
            *self.0.lock() = fields.0;
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn rejected_origin_is_logged_with_the_remedy() {
        let log = Log::default();
        let headers = [&GOOD[..], &[("Origin", "https://evil.example")]].concat();
        let error = tracing::subscriber::with_default(log.clone(), || upgrade(&headers)).unwrap_err();
        assert_eq!(error.status, StatusCode::FORBIDDEN);
        let logged = log.0.lock().clone();
        for part in ["WARN", "origin=\"https://evil.example\"", "host=\"example.com\"", "ServerBuilder::origins"] {
            assert!(logged.contains(part), "{part}: {logged}");
        }
    }

    /// Generates a line of a request: valid, invalid, or incomplete.
    fn line() -> impl Strategy<Value = String> {
        let good = prop::sample::select(GOOD.to_vec()).prop_map(|(name, value)| format!("{name}: {value}\r\n"));
        prop_oneof![
            8 => good,
            1 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
            1 => Just("Content-Length: 0\r\n".to_owned()),
            1 => Just("\r\n".to_owned()),
            1 => "[ -~]{0,20}\r\n",
            1 => ".{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn any_request_receives_a_response(
            first in prop_oneof![
                Just("GET / HTTP/1.1\r\n".to_owned()),
                "[A-Z]{1,7} /.{0,5} HTTP/[0-3].[01]\r\n",
                ".{1,20}\r\n",
            ],
            lines in prop::collection::vec(line(), 0..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let (near, far) = duplex(1 << 16);
                let (reader, writer) = split(near);
                let (mut responses, mut requests) = split(far);
                requests.write_all(format!("{first}{}\r\n\r\n", lines.concat()).as_bytes()).await.unwrap();
                requests.shutdown().await.unwrap();
                let policy = Arc::new(UpgradePolicy::new(&Origins::default(), "/".to_owned()));
                let accepted = accept(reader, writer, policy, ConnectInfo::over("ws")).await;
                let is_accepted = accepted.is_ok();
                drop(accepted);
                let mut response = String::new();
                responses.read_to_string(&mut response).await.unwrap();
                let expected = if is_accepted { "HTTP/1.1 101 " } else { "HTTP/1.1 4" };
                assert!(response.starts_with(expected), "{response}");
            });
        }
    }

    /// An endless stream that counts reads.
    struct Endless(Arc<AtomicU32>);

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            into.put_slice(&[0; 16]);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_client_is_read_at_a_bounded_rate() {
        let reads = Arc::new(AtomicU32::new(0));
        reject_upgrade(Endless(Arc::clone(&reads)), tokio::io::sink(), &UpgradeError::NOT_GET).await;
        let reads = reads.load(Ordering::Relaxed);
        assert!((16..=16 * 2001).contains(&reads), "{reads} reads in two seconds");
    }
}
