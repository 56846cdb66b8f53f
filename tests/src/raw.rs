//! A peer that writes its own bytes, after PROTOCOL.md and without any of the library's code.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long anything may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Keys of the group `Bad`: the beginning of SHA-256 over path, zero byte and name.
pub(crate) const ECHO: [u8; 8] = [0xb6, 0x36, 0x25, 0x70, 0xc0, 0x66, 0xbe, 0x0c];
pub(crate) const WAIT: [u8; 8] = [0x6b, 0x99, 0x5f, 0x63, 0xba, 0xb6, 0x1a, 0x69];
pub(crate) const NEST: [u8; 8] = [0x1c, 0x63, 0x71, 0x74, 0xd1, 0x2b, 0x2d, 0xdd];
pub(crate) const SUM: [u8; 8] = [0x4a, 0x39, 0xdb, 0x9d, 0xe1, 0x15, 0x85, 0x44];
pub(crate) const NOTE: [u8; 8] = [0x53, 0xfa, 0x33, 0x4d, 0x97, 0x2a, 0xf7, 0x62];
pub(crate) const UNKNOWN: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

pub(crate) const REPLY: u8 = 3;
pub(crate) const FAILURE: u8 = 4;
pub(crate) const GOODBYE: u8 = 10;
/// Kinds from here on are passed over by who does not know them.
pub(crate) const OPTIONAL: u8 = 0x80;

/// The default terms: frame, calls, bytes.
pub(crate) const TERMS: [u64; 3] = [4 << 20, 1024, 1 << 20];

pub(crate) fn varint(mut number: u64) -> Vec<u8> {
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

pub(crate) fn prefixed(frame: &[u8]) -> Vec<u8> {
    [&u32::try_from(frame.len()).unwrap().to_le_bytes(), frame].concat()
}

/// A string, or a list of bytes.
pub(crate) fn string(text: &str) -> Vec<u8> {
    [&varint(text.len() as u64), text.as_bytes()].concat()
}

pub(crate) fn terms(terms: [u64; 3]) -> Vec<u8> {
    terms.into_iter().flat_map(varint).collect()
}

pub(crate) fn envelope(magic: [u8; 4], version: u64, body: &[u8]) -> Vec<u8> {
    [&magic[..], &varint(version), &varint(body.len() as u64), body].concat()
}

/// What a greeting and a welcome end with.
pub(crate) const NO_EXTENSIONS: [u8; 1] = [0];

pub(crate) fn greeting(its_terms: [u64; 3], login: &[u8]) -> Vec<u8> {
    envelope(*b"SKTS", 1, &[&terms(its_terms), &varint(login.len() as u64), login, &NO_EXTENSIONS].concat())
}

pub(crate) fn welcome(its_terms: [u64; 3]) -> Vec<u8> {
    envelope(*b"SKTS", 1, &[&[0], &terms(its_terms)[..], &NO_EXTENSIONS].concat())
}

pub(crate) fn emit(key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    [&[1], &key[..], payload].concat()
}

pub(crate) fn request(id: u64, key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    request_within(id, 5000, key, payload)
}

pub(crate) fn request_within(id: u64, millis: u64, key: [u8; 8], payload: &[u8]) -> Vec<u8> {
    [&[2], &varint(id)[..], &varint(millis), &key, payload].concat()
}

pub(crate) fn reply(id: u64, payload: &[u8]) -> Vec<u8> {
    [&[REPLY], &varint(id)[..], payload].concat()
}

pub(crate) fn cancel(id: u64) -> Vec<u8> {
    [&[5], &varint(id)[..]].concat()
}

/// An announcement of keys and signatures.
pub(crate) fn signatures(entries: &[([u8; 8], [u8; 8])]) -> Vec<u8> {
    [&[0x80], &entries.iter().flat_map(|(key, signature)| [*key, *signature]).flatten().collect::<Vec<_>>()[..]]
        .concat()
}

pub(crate) fn credit(calls: u64, bytes: u64) -> Vec<u8> {
    [&[6], &varint(calls)[..], &varint(bytes)].concat()
}

/// The raw end of a connection.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
}

impl Raw {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Connects and logs in, to Ready.
    pub(crate) async fn welcomed(address: std::net::SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.log_in(TERMS).await;
        raw
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) async fn log_in(&mut self, terms: [u64; 3]) {
        self.send(&greeting(terms, &string("ada"))).await;
        let answer = self.receive().await.expect("an answer to the greeting");
        assert_eq!(answer[..4], *b"SKTS");
        assert_eq!(answer[6], 0, "not a welcome: {answer:?}");
        assert_eq!(self.receive().await.as_deref(), Some(&[7][..]), "Ready");
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &[u8]) {
        self.send_bytes(&prefixed(frame)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The other side may have closed already, which the test finds out when it reads.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("what is sent is read");
    }

    /// The next frame that may not be passed over; `None` at the end.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let frame = self.receive_any().await?;
            if frame.first().is_none_or(|kind| *kind < OPTIONAL) {
                return Some(frame);
            }
        }
    }

    /// The next frame, whatever it is; `None` at the end.
    pub(crate) async fn receive_any(&mut self) -> Option<Vec<u8>> {
        let mut prefix = [0; 4];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut prefix)).await.expect("a frame or the end comes");
        read.ok()?;
        let mut frame = vec![0; u32::from_le_bytes(prefix) as usize];
        timeout(PATIENCE, self.stream.read_exact(&mut frame)).await.expect("the frame comes whole").unwrap();
        Some(frame)
    }

    /// The next frame has to be the failure of this request; gives its text.
    pub(crate) async fn expect_failure(&mut self, id: u8, code: u8) -> String {
        let frame = self.receive().await.expect("a failure");
        assert_eq!(frame[..3], [FAILURE, id, code], "{frame:?}");
        String::from_utf8(frame[3..].to_vec()).unwrap()
    }

    /// The other side has to say goodbye because of a violation, and to close; gives its text.
    pub(crate) async fn expect_violation(&mut self) -> String {
        let frame = self.receive().await.expect("a goodbye");
        assert_eq!(frame[..2], [GOODBYE, 4], "{frame:?}");
        assert_eq!(self.receive().await, None, "the goodbye is the last frame");
        String::from_utf8(frame[2..].to_vec()).unwrap()
    }

    /// The answer to the greeting has to be "misunderstood", and the end; gives its text.
    pub(crate) async fn expect_misunderstood(&mut self) -> String {
        let answer = self.receive().await.expect("an answer to the greeting");
        assert_eq!(answer[..5], *b"SKTS\x01", "magic and our version come whatever was sent");
        // The length of the body takes one byte or two.
        let body = if answer[5] < 0x80 { &answer[6..] } else { &answer[7..] };
        assert_eq!(body[0], 2, "{answer:?}");
        assert_eq!(self.receive().await, None, "the answer is the last frame");
        String::from_utf8_lossy(&body[2..]).into_owned()
    }

    /// All bytes that come until none have come for a while, or the end.
    pub(crate) async fn drain(&mut self) -> usize {
        let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            match timeout(Duration::from_secs(3), self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) | Err(_) => return total,
                Ok(Ok(read)) => total += read,
            }
        }
    }
}
