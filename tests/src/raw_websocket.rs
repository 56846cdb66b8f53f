//! A WebSocket client that encodes its bytes as RFC 6455 and PROTOCOL.md specify. It uses no code
//! of the library.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// The opcode of a continuation.
pub const CONTINUATION: u8 = 0x0;
/// The opcode of a text message.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub const PING: u8 = 0x9;
/// The opcode of a pong.
pub const PONG: u8 = 0xa;
/// The bit that marks the last frame of a message.
pub const FIN: u8 = 0x80;

/// A client hello without a login, with the default settings.
pub const CLIENT_HELLO: &[u8] = b"SKTS\x01\x0b\x80\x80\x80\x02\x80\x08\x80\x80\x40\x00\x00";
/// The frame type Ready.
pub const READY: u8 = 7;
/// The frame type Close of the protocol, which is not the close frame of the WebSocket.
pub const CLOSE_FRAME: u8 = 10;
/// The first optional frame type. A peer ignores optional frame types that it does not know.
const OPTIONAL: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Encodes a masked frame. `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [header(first, payload.len() as u64, 0x80), MASK.to_vec(), masked.collect()].concat()
}

/// Encodes the header of a frame up to its mask.
pub fn header(first: u8, length: u64, masked: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => bytes.push(masked | length),
        (_, Ok(length)) => {
            bytes.push(masked | 0x7e);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 0x7f);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

/// Returns an upgrade request with additional headers.
pub fn request(address: SocketAddr, headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: chat, sockets.v1\r\n{headers}\r\n"
    )
}

/// The raw end of a connection.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects to a server.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Upgrades the connection, and sends no client hello.
    pub async fn upgraded(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(request(address, "").as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Upgrades the connection and completes the handshake, including the frame Ready.
    pub async fn established(address: SocketAddr) -> Self {
        let mut raw = Self::upgraded(address).await;
        raw.send(&frame(FIN | BINARY, CLIENT_HELLO)).await;
        let hello = raw.message().await;
        assert_eq!((&hello[..4], hello[6]), (&b"SKTS"[..], 0), "not a server hello: {hello:?}");
        assert_eq!(raw.message().await, [READY]);
        raw
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        // The result of the write is ignored, because the peer may have closed the connection. In
        // that case, the next read of the test returns the end.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the peer reads");
    }

    /// Reads the head of an HTTP response.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                timeout(PATIENCE, self.stream.read_u8()).await.expect("a response in time").expect("a whole head"),
            );
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads the body of a response with this head.
    pub async fn body(&mut self, head: &str) -> String {
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        timeout(PATIENCE, self.stream.read_exact(&mut body)).await.expect("a body").unwrap();
        String::from_utf8(body).unwrap()
    }

    /// Reads all bytes until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // The result of the read is ignored, because a failed read means that the peer has reset
        // the connection. A reset counts as an end, too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the end");
        rest
    }

    /// Reads the next frame. Returns its first byte and its payload, or `None` at the end.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = timeout(PATIENCE, self.stream.read_u8()).await.expect("a frame or the end arrives in time").ok()?;
        let length = match timeout(PATIENCE, self.stream.read_u8()).await.unwrap().unwrap() {
            126 => u64::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap(),
            length @ ..126 => length.into(),
            masked => panic!("the server's frame is masked: {masked:#04x}"),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        timeout(PATIENCE, self.stream.read_exact(&mut payload))
            .await
            .expect("the whole frame arrives in time")
            .unwrap();
        Some((first, payload))
    }

    /// Reads the next message, and ignores optional messages. Fails if another WebSocket frame
    /// arrives first.
    pub async fn message(&mut self) -> Vec<u8> {
        loop {
            let (first, payload) = self.frame().await.expect("a message");
            assert_eq!(first, FIN | BINARY, "not a whole binary message: {payload:?}");
            if payload.first().is_none_or(|kind| *kind < OPTIONAL) {
                return payload;
            }
        }
    }

    /// Receives the Close frame of the protocol for a protocol error. Then receives the close frame
    /// of the WebSocket with this code. Returns the text of the Close frame.
    pub async fn expect_protocol_error(&mut self, code: u16) -> String {
        let close = self.message().await;
        assert_eq!(close[..2], [CLOSE_FRAME, 4], "{close:?}");
        self.expect_close(code).await;
        String::from_utf8(close[2..].to_vec()).unwrap()
    }

    /// Receives a close frame of the WebSocket with this code, and then the end of the connection.
    pub async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.frame().await, Some((FIN | CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(self.frame().await, None, "the close frame is the last frame");
    }
}
