//! A peer that writes its own bytes, after RFC 6455 and PROTOCOL.md, and without any of the library's code.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long anything may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
/// The bit of the last frame of a message.
pub(crate) const FIN: u8 = 0x80;

/// A greeting without a login, with the default terms.
pub(crate) const GREETING: &[u8] = b"SKTS\x01\x0b\x80\x80\x80\x02\x80\x08\x80\x80\x40\x00\x00";
pub(crate) const READY: u8 = 7;
pub(crate) const GOODBYE: u8 = 10;
/// Kinds from here on are passed over by who does not know them.
const OPTIONAL: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of a client: its first byte, and what it carries.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [header(first, payload.len() as u64, 0x80), MASK.to_vec(), masked.collect()].concat()
}

/// The header of a frame up to its mask.
pub(crate) fn header(first: u8, length: u64, masked: u8) -> Vec<u8> {
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

/// A request to upgrade, with these headers too.
pub(crate) fn request(address: SocketAddr, headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: chat, sockets.v1\r\n{headers}\r\n"
    )
}

/// The raw end of a connection.
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Upgrades, and does not greet.
    pub(crate) async fn upgraded(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(request(address, "").as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Upgrades and greets, to Ready.
    pub(crate) async fn welcomed(address: SocketAddr) -> Self {
        let mut raw = Self::upgraded(address).await;
        raw.send(&frame(FIN | BINARY, GREETING)).await;
        let welcome = raw.message().await;
        assert_eq!((&welcome[..4], welcome[6]), (&b"SKTS"[..], 0), "not a welcome: {welcome:?}");
        assert_eq!(raw.message().await, [READY]);
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed already, which the test finds out when it reads.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("what is sent is read");
    }

    /// The head of an HTTP response.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.stream.read_u8()).await.expect("an answer").expect("a whole head"));
        }
        String::from_utf8(head).unwrap()
    }

    /// Returns the body of a response, whose head tells its length.
    pub(crate) async fn body(&mut self, head: &str) -> String {
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        timeout(PATIENCE, self.stream.read_exact(&mut body)).await.expect("a body").unwrap();
        String::from_utf8(body).unwrap()
    }

    /// All that comes until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the end");
        rest
    }

    /// The next frame: its first byte, and what it carries. `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = timeout(PATIENCE, self.stream.read_u8()).await.expect("a frame or the end comes").ok()?;
        let length = match timeout(PATIENCE, self.stream.read_u8()).await.unwrap().unwrap() {
            126 => u64::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap(),
            length @ ..126 => length.into(),
            masked => panic!("a server does not mask: {masked:#04x}"),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        timeout(PATIENCE, self.stream.read_exact(&mut payload)).await.expect("the frame comes whole").unwrap();
        Some((first, payload))
    }

    /// The next message that may not be passed over: nothing else comes before it.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        loop {
            let (first, payload) = self.frame().await.expect("a message");
            assert_eq!(first, FIN | BINARY, "not a whole binary message: {payload:?}");
            if payload.first().is_none_or(|kind| *kind < OPTIONAL) {
                return payload;
            }
        }
    }

    /// The server has to say goodbye because of a violation, and to close with this code; gives the goodbye's text.
    pub(crate) async fn expect_violation(&mut self, code: u16) -> String {
        let goodbye = self.message().await;
        assert_eq!(goodbye[..2], [GOODBYE, 4], "{goodbye:?}");
        self.expect_close(code).await;
        String::from_utf8(goodbye[2..].to_vec()).unwrap()
    }

    /// The server has to close with this code, and nothing comes behind it.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.frame().await, Some((FIN | CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(self.frame().await, None, "a close is the last frame");
    }
}
