//! The client's upgrade from HTTP to WebSocket.

use std::{io, time::Duration};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tungstenite::{
    handshake::{client::generate_key, derive_accept_key},
    protocol::Role,
};

use super::{
    SUBPROTOCOL, fields,
    head::{self, HeadError},
    over_websocket,
};
use crate::{
    address::{self, AddressError, Authority, ParseAddressError, WebAddress},
    connect_error::ConnectError,
    transport::{Foreign, Link},
};

/// The maximum number of characters of a response that an error message contains.
const MAX_EXCERPT: usize = 200;

/// The timeout for the rest of an error response.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum number of interim responses before the final response (RFC 9110, 15.2).
const MAX_INTERIM_RESPONSES: u32 = 8;

/// Upgrades a connection to the server at `address` to WebSocket.
pub(crate) async fn connect<R, W>(mut reader: R, mut writer: W, address: &WebAddress) -> Result<Link, ConnectError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let key = generate_key();
    writer.write_all(request(address, &key)?.as_bytes()).await?;
    writer.flush().await?;
    let mut read = BytesMut::new();
    let response = read_response(&mut reader, &mut read).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The server may announce more bytes than it sends.
        let _ = timeout(ERROR_BODY_TIMEOUT, read_body(&mut reader, response.headers(), &mut read)).await;
        return Err(rejection(&response, &read));
    }
    check(response.headers(), &derive_accept_key(key.as_bytes()))
        .map_err(|reason| ConnectError::Handshake(format!("invalid WebSocket upgrade by the server: {reason}")))?;
    Ok(over_websocket(Role::Client, read, reader, writer))
}

fn request(address: &WebAddress, key: &str) -> Result<String, ConnectError> {
    let WebAddress { path, credentials, .. } = address;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let invalid = ParseAddressError::InvalidPath(address::redacted(path));
        return Err(AddressError::new(path, invalid).into());
    }
    let authorization = credentials.as_ref().map(|it| format!("Authorization: {}\r\n", it.authorization()));
    Ok(format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{}\r\n",
        host(address),
        authorization.unwrap_or_default(),
    ))
}

/// Reads the response to the upgrade request. Skips the interim responses before it.
async fn read_response(
    reader: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> Result<Response<Option<Vec<u8>>>, ConnectError> {
    for _ in 0..=MAX_INTERIM_RESPONSES {
        let response = match head::read::<Response<Option<Vec<u8>>>>(reader, read).await {
            Ok(response) => response,
            Err(HeadError::Io(error)) => return Err(error.into()),
            Err(error) => {
                // The server may send fewer bytes.
                let _ = timeout(ERROR_BODY_TIMEOUT, read_up_to(reader, Foreign::DETECTION_LENGTH, read)).await;
                let reason = Foreign::detect(read).filter(|foreign| *foreign != Foreign::Http);
                let reason = reason.map_or_else(|| error.to_string(), |foreign| foreign.to_string());
                return Err(ConnectError::Handshake(format!(
                    "the server did not respond as a WebSocket server: {reason}"
                )));
            }
        };
        let status = response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
    }
    Err(ConnectError::Handshake("the server sends only interim responses".into()))
}

/// Reads the part of a body that the error message shows.
async fn read_body(reader: &mut (impl AsyncRead + Unpin), headers: &HeaderMap, read: &mut BytesMut) -> io::Result<()> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    read_up_to(reader, length.unwrap_or(0).min(MAX_EXCERPT), read).await
}

/// Reads until `read` has `length` bytes, or until the stream ends.
async fn read_up_to(reader: &mut (impl AsyncRead + Unpin), length: usize, read: &mut BytesMut) -> io::Result<()> {
    while read.len() < length {
        let missing = length - read.len();
        if reader.read_buf(&mut read.limit(missing)).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Returns the error for a response without an upgrade.
fn rejection(response: &Response<Option<Vec<u8>>>, body: &[u8]) -> ConnectError {
    let status = response.status();
    let advice = match response.headers().get(header::LOCATION) {
        Some(location) if status.is_redirection() => {
            let location = address::redacted(&excerpt(location.as_bytes()));
            format!("; clients do not follow redirects; connect to {location}")
        }
        _ => String::new(),
    };
    ConnectError::Handshake(format!("the server responded with {status}: {}{advice}", excerpt(body)))
}

/// Returns the beginning of a server's text, without control characters.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim().chars().filter(|character| !character.is_control()).take(MAX_EXCERPT).collect()
}

/// Returns the `Host` in the form that browsers use. The form has no default port, and no zone of
/// an IPv6 address.
fn host(WebAddress { secure, authority, .. }: &WebAddress) -> String {
    let default_port = if *secure { ":443" } else { ":80" };
    let host = authority.host.split('%').next().unwrap_or_default().to_owned();
    let host = Authority { host, ..*authority }.to_string();
    host.strip_suffix(default_port).unwrap_or(&host).to_owned()
}

/// Checks that a response accepts the upgrade request.
fn check(headers: &HeaderMap, accept: &str) -> Result<(), &'static str> {
    if !fields::has(headers, header::UPGRADE, "websocket") || !fields::has(headers, header::CONNECTION, "upgrade") {
        Err("the response has no `Upgrade` or `Connection` header for WebSocket")
    } else if fields::single(headers, header::SEC_WEBSOCKET_ACCEPT) != Some(accept) {
        Err("`Sec-WebSocket-Accept` does not match the key")
    } else if fields::elements(headers, header::SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        Err("it selects an extension that was not offered")
    } else if fields::single(headers, header::SEC_WEBSOCKET_PROTOCOL) != Some(SUBPROTOCOL) {
        Err("it does not select the subprotocol sockets.v1")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tokio::io::{duplex, split};

    use super::*;
    use crate::address::Address;

    fn web(url: &str) -> WebAddress {
        match Address::parse(url) {
            Ok(Address::Web(web)) => web,
            other => panic!("{other:?}"),
        }
    }

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn response_is_checked_field_by_field() {
        let good = [
            (header::CONNECTION, "keep-alive"),
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "h2c, WebSocket"),
            (header::SEC_WEBSOCKET_ACCEPT, "key"),
            (header::SEC_WEBSOCKET_PROTOCOL, "sockets.v1"),
        ];
        assert_eq!(check(&headers(&good), "key"), Ok(()));
        assert!(check(&headers(&good), "other").is_err());
        for missing in 1..good.len() {
            let mut lines = good.to_vec();
            let line = lines.remove(missing);
            assert!(check(&headers(&lines), "key").is_err(), "without {line:?}");
        }
        for more in [
            (header::SEC_WEBSOCKET_ACCEPT, "key"),
            (header::SEC_WEBSOCKET_PROTOCOL, "chat"),
            (header::SEC_WEBSOCKET_PROTOCOL, "sockets.v1"),
            (header::SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
        ] {
            let lines = [&good[..], std::slice::from_ref(&more)].concat();
            assert!(check(&headers(&lines), "key").is_err(), "with {more:?}");
        }
    }

    #[test]
    fn userinfo_becomes_basic_authentication() {
        // The example of RFC 7617, 2.
        let request = request(&web("ws://Aladdin:open%20sesame@Example.com/live?room=1"), "key").unwrap();
        assert!(request.starts_with("GET /live?room=1 HTTP/1.1\r\nHost: example.com\r\n"), "{request}");
        assert!(request.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"), "{request}");
        assert!(!super::request(&web("ws://example.com"), "key").unwrap().contains("Authorization"));
    }

    async fn connect_error(response: &'static str) -> String {
        let (near, mut far) = duplex(10_000);
        far.write_all(response.as_bytes()).await.unwrap();
        let (reader, writer) = split(near);
        let Err(error) = connect(reader, writer, &web("ws://user:secret@localhost")).await else {
            panic!("{response}")
        };
        error.to_string()
    }

    #[tokio::test]
    async fn refusal_names_status_and_redirect() {
        let redirected =
            connect_error("HTTP/1.1 301 Moved Permanently\r\nLocation: wss://u:pw@example.com/live\r\n\r\n").await;
        assert!(redirected.contains("301 Moved Permanently"), "{redirected}");
        assert!(redirected.contains("wss://***@example.com/live"), "{redirected}");
        let early = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
        assert!(connect_error(early).await.ends_with("401 Unauthorized: no"));
        let old = connect_error("HTTP/1.0 101 Switching Protocols\r\n\r\n").await;
        assert!(old.contains("HTTP/1.0"), "{old}");
    }
}
