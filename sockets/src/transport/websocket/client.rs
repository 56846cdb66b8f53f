//! The client's side of the way from HTTP to WebSocket.

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
    SUBPROTOCOL,
    head::{self, HeadError},
    over_websocket,
};
use crate::{
    connect_error::ConnectError,
    transport::{Link, address::WebAddress},
};

/// How many characters of an answer are shown to the user.
const SHOWN: usize = 200;

/// How long the rest of an answer that is an error is waited for.
const LISTEN: Duration = Duration::from_secs(1);

/// Asks the server at `address` to speak WebSocket from now on.
pub(crate) async fn connect<R, W>(mut reader: R, mut writer: W, address: &WebAddress) -> Result<Link, ConnectError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (path, host) = (&address.path, host(address));
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(ConnectError::Address(format!("the path {path:?} has characters that have to be escaped")));
    }
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    writer.write_all(request.as_bytes()).await?;
    writer.flush().await?;
    let (response, mut read) = match head::read::<Response<Option<Vec<u8>>>>(&mut reader).await {
        Ok(answer) => answer,
        Err(HeadError::Io(error)) => return Err(error.into()),
        Err(error) => return Err(ConnectError::Handshake(format!("the server's answer is of no use: {error}"))),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // One that promises more than it says is not waited for.
        let _ = timeout(LISTEN, read_body(&mut reader, response.headers(), &mut read)).await;
        let words = String::from_utf8_lossy(&read);
        let words: String = words.trim().chars().filter(|shown| !shown.is_control()).take(SHOWN).collect();
        return Err(ConnectError::Handshake(format!("the server answered {}: {words}", response.status())));
    }
    check(response.headers(), &derive_accept_key(key.as_bytes()))
        .map_err(|what| ConnectError::Handshake(format!("the server does not agree to a WebSocket: {what}")))?;
    Ok(over_websocket(Role::Client, read, reader, writer))
}

/// Reads as much of a body as is going to be shown.
async fn read_body(reader: &mut (impl AsyncRead + Unpin), headers: &HeaderMap, read: &mut BytesMut) -> io::Result<()> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(0).min(SHOWN);
    while read.len() < length {
        let missing = length - read.len();
        if reader.read_buf(&mut read.limit(missing)).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// As browsers write it: without a port that is the usual one.
fn host(WebAddress { secure, authority, .. }: &WebAddress) -> String {
    let usual = if *secure { ":443" } else { ":80" };
    let host = authority.to_string();
    host.strip_suffix(usual).unwrap_or(&host).to_owned()
}

/// Whether this is the answer to the request.
fn check(headers: &HeaderMap, accept: &str) -> Result<(), &'static str> {
    let has = |name, value: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|values| values.split(',')).any(|one| one.trim().eq_ignore_ascii_case(value))
    };
    let is = |name, value: &str| headers.get(name).is_some_and(|there| there.as_bytes() == value.as_bytes());
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        Err("it does not upgrade")
    } else if !is(header::SEC_WEBSOCKET_ACCEPT, accept) {
        Err("it does not answer the key")
    } else if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        Err("it uses an extension that was not offered")
    } else if !is(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        Err("it does not choose the subprotocol sockets.v1")
    } else {
        Ok(())
    }
}
