//! A raw peer that encodes its bytes as PROTOCOL.md specifies. It uses no code of the library.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

/// The key of `Bad/echo`. A key is the beginning of a SHA-256 hash over the group's path, a zero
/// byte and the method's name.
pub const ECHO: [u8; 8] = [0xb6, 0x36, 0x25, 0x70, 0xc0, 0x66, 0xbe, 0x0c];
/// The key of `Bad/wait`.
pub const WAIT: [u8; 8] = [0x6b, 0x99, 0x5f, 0x63, 0xba, 0xb6, 0x1a, 0x69];
/// The key of `Bad/nest`.
pub const NEST: [u8; 8] = [0x1c, 0x63, 0x71, 0x74, 0xd1, 0x2b, 0x2d, 0xdd];
/// The key of `Bad/sum`.
pub const SUM: [u8; 8] = [0x4a, 0x39, 0xdb, 0x9d, 0xe1, 0x15, 0x85, 0x44];
/// The key of `Bad/note`.
pub const NOTE: [u8; 8] = [0x53, 0xfa, 0x33, 0x4d, 0x97, 0x2a, 0xf7, 0x62];
/// A key that belongs to no method.
pub const UNKNOWN: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// The frame type Reply.
pub const REPLY: u8 = 3;
/// The frame type Failure.
pub const FAILURE: u8 = 4;
/// The frame type Close.
pub const CLOSE_FRAME: u8 = 10;
/// The first optional frame type. A peer ignores optional frame types that it does not know.
pub const OPTIONAL: u8 = 0x80;

/// The default settings. They are the maximum frame, the calls in flight, and the bytes in flight.
pub const SETTINGS: [u64; 3] = [4 << 20, 1024, 1 << 20];

/// Encodes a varint.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [lowest, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(lowest & 0x7f);
            return bytes;
        }
        bytes.push(lowest | 0x80);
    }
}

/// Returns a frame after a prefix with its length.
pub fn prefixed(frame: &[u8]) -> Vec<u8> {
    [&u32::try_from(frame.len()).unwrap().to_le_bytes(), frame].concat()
}

/// Encodes a string or a list of bytes.
pub fn string(text: &str) -> Vec<u8> {
    [&varint(text.len() as u64), text.as_bytes()].concat()
}

/// Encodes the settings of a handshake.
pub fn encode_settings(settings: [u64; 3]) -> Vec<u8> {
    settings.into_iter().flat_map(varint).collect()
}

/// Encodes a handshake message: magic bytes, version, length and body.
pub fn envelope(magic: [u8; 4], version: u64, body: &[u8]) -> Vec<u8> {
    [&magic[..], &varint(version), &varint(body.len() as u64), body].concat()
}

/// The last byte of a client hello or server hello without extensions.
pub const NO_EXTENSIONS: [u8; 1] = [0];

/// Encodes a client hello with these settings and this encoded login.
pub fn client_hello(settings: [u64; 3], login: &[u8]) -> Vec<u8> {
    envelope(*b"SKTS", 1, &[&encode_settings(settings), &varint(login.len() as u64), login, &NO_EXTENSIONS].concat())
}

/// Encodes a server hello with these settings.
pub fn server_hello(settings: [u64; 3]) -> Vec<u8> {
    envelope(*b"SKTS", 1, &[&[0], &encode_settings(settings)[..], &NO_EXTENSIONS].concat())
}

/// Encodes an emit.
pub fn emit(key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    [&[1], &key[..], payload].concat()
}

/// Encodes a request with a timeout of 5 s.
pub fn request(id: u64, key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    request_within(id, 5000, key, payload)
}

/// Encodes a request with a timeout in milliseconds.
pub fn request_within(id: u64, millis: u64, key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    [&[2], &varint(id)[..], &varint(millis), &key, payload].concat()
}

/// Encodes a reply.
pub fn reply(id: u64, payload: &[u8]) -> Vec<u8> {
    [&[REPLY], &varint(id)[..], payload].concat()
}

/// Encodes a cancellation.
pub fn cancel(id: u64) -> Vec<u8> {
    [&[5], &varint(id)[..]].concat()
}

/// Encodes an announcement of keys and signatures.
pub fn signatures(entries: &[([u8; 8], [u8; 8])]) -> Vec<u8> {
    [&[0x80], &entries.iter().flat_map(|(key, signature)| [*key, *signature]).flatten().collect::<Vec<_>>()[..]]
        .concat()
}

/// Encodes a credit of calls and bytes.
pub fn credit(calls: u64, bytes: u64) -> Vec<u8> {
    [&[6], &varint(calls)[..], &varint(bytes)].concat()
}

/// The raw end of a connection.
pub struct Raw<S = TcpStream> {
    /// The stream to the peer.
    pub stream: S,
}

impl Raw {
    /// Connects to a server.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Connects and completes the handshake, including the frame Ready.
    pub async fn established(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.log_in(SETTINGS).await;
        raw
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Completes the handshake with these settings, including the frame Ready.
    pub async fn log_in(&mut self, settings: [u64; 3]) {
        self.send(&client_hello(settings, &string("ada"))).await;
        let answer = self.receive().await.expect("an answer to the client hello");
        assert_eq!(answer[..4], *b"SKTS");
        assert_eq!(answer[6], 0, "not a server hello: {answer:?}");
        assert_eq!(self.receive().await.as_deref(), Some(&[7][..]), "Ready");
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &[u8]) {
        self.send_bytes(&prefixed(frame)).await;
    }

    /// Sends bytes without a prefix.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // The result of the write is ignored, because the peer may have closed the connection. In
        // that case, the next read of the test returns the end.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the peer reads");
    }

    /// Receives the next frame, and ignores optional frames. Returns `None` at the end of the
    /// connection.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let frame = self.receive_any().await?;
            if frame.first().is_none_or(|kind| *kind < OPTIONAL) {
                return Some(frame);
            }
        }
    }

    /// Receives the next frame. Returns `None` at the end of the connection.
    pub async fn receive_any(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        let read =
            timeout(PATIENCE, self.stream.read_exact(&mut prefix)).await.expect("a frame or the end arrives in time");
        read.ok()?;
        let mut frame = vec![0; u32::from_le_bytes(prefix) as usize];
        timeout(PATIENCE, self.stream.read_exact(&mut frame)).await.expect("the whole frame arrives in time").unwrap();
        Some(frame)
    }

    /// Receives the failure of this request, and returns its text.
    pub async fn expect_failure(&mut self, id: u8, code: u8) -> String {
        let frame = self.receive().await.expect("a failure");
        assert_eq!(frame[..3], [FAILURE, id, code], "{frame:?}");
        String::from_utf8(frame[3..].to_vec()).unwrap()
    }

    /// Receives a Close frame for a protocol error, and then the end of the connection. Returns the
    /// text of the frame.
    pub async fn expect_protocol_error(&mut self) -> String {
        let frame = self.receive().await.expect("a Close frame");
        assert_eq!(frame[..2], [CLOSE_FRAME, 4], "{frame:?}");
        assert_eq!(self.receive().await, None, "the Close frame is the last frame");
        String::from_utf8(frame[2..].to_vec()).unwrap()
    }

    /// Receives the server's rejection of a malformed client hello, and then the end of the
    /// connection. Returns the text of the rejection.
    pub async fn expect_rejected_hello(&mut self) -> String {
        let answer = self.receive().await.expect("an answer to the client hello");
        assert_eq!(answer[..5], *b"SKTS\x01", "magic and our version come whatever was sent");
        // The length of the body is a varint of one or two bytes.
        let body = if answer[5] < 0x80 { &answer[6..] } else { &answer[7..] };
        assert_eq!(body[0], 2, "{answer:?}");
        assert_eq!(self.receive().await, None, "the answer is the last frame");
        String::from_utf8_lossy(&body[2..]).into_owned()
    }

    /// Reads until the connection ends, or until no byte arrives for three seconds. Returns the
    /// number of bytes.
    pub async fn drain(&mut self) -> usize {
        let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            match timeout(Duration::from_secs(3), self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) | Err(_) => return total,
                Ok(Ok(read)) => total += read,
            }
        }
    }
}
