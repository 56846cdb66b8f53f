//! A hostile peer that encodes its bytes as PROTOCOL.md and RFC 6455 specify.

use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use sockets_tests::{
    raw::{FAILURE, REPLY, SETTINGS, client_hello, encode_settings, envelope, prefixed, string, varint},
    raw_websocket,
};

/// The number of items that the attacker has sent. Depending on the attack, an item is a frame, a
/// call or a connection.
pub(crate) static SENT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn sent(count: u64) {
    SENT.fetch_add(count, Ordering::Relaxed);
}

/// The raw end of a connection.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
}

/// A resumption token.
pub(crate) struct Token(Vec<u8>);

const RESUMPTION: u8 = 3;

impl Peer {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Connects and logs in, without any extension.
    pub(crate) fn log_in(server: SocketAddr) -> io::Result<Self> {
        let mut peer = Self::connect(server)?;
        peer.send(&client_hello(SETTINGS, &string("mallory")))?;
        peer.receive()?;
        Ok(peer)
    }

    /// Connects and logs in, with the extension for resumption.
    pub(crate) fn log_in_resumable(server: SocketAddr) -> io::Result<(Self, Token)> {
        let mut peer = Self::connect(server)?;
        peer.send(&resumable(&[0]))?;
        let token = peer.receive_token()?;
        Ok((peer, token))
    }

    /// Connects, and asks the server to resume a session at this position.
    pub(crate) fn resume(server: SocketAddr, token: &Token, received: u64) -> io::Result<Self> {
        let mut peer = Self::connect(server)?;
        peer.send(&resumable(&[&[1], &token.0[..], &varint(received), &varint(0)].concat()))?;
        Ok(peer)
    }

    /// Connects and logs in over a WebSocket. The caller then sends raw bytes.
    pub(crate) fn log_in_over_websocket(server: SocketAddr) -> io::Result<Self> {
        let mut peer = Self::connect(server)?;
        peer.write(raw_websocket::request(server, "").as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let hello = client_hello(SETTINGS, &string("mallory"));
        peer.write(&raw_websocket::frame(raw_websocket::FIN | raw_websocket::BINARY, &hello))?;
        // This read ends within the server hello. The peer does not read the rest.
        peer.stream.read_exact(&mut [0; 16])?;
        Ok(peer)
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.write(&prefixed(frame))
    }

    /// Sends bytes without a prefix.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Receives the next frame.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut frame = vec![0; u32::from_le_bytes(prefix) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Receives frames up to a frame of this kind.
    pub(crate) fn receive_kind(&mut self, kind: u8) -> io::Result<()> {
        while self.receive()?.first() != Some(&kind) {}
        Ok(())
    }

    /// Receives frames until `count` of them are replies or failures.
    pub(crate) fn receive_replies(&mut self, count: u64) -> io::Result<()> {
        let mut missing = count;
        while missing > 0 {
            missing -= u64::from(matches!(self.receive()?[..], [REPLY | FAILURE, ..]));
        }
        Ok(())
    }

    /// Receives up to `count` bytes.
    pub(crate) fn receive_bytes(&mut self, count: usize) -> io::Result<()> {
        match self.stream.get_mut().read(&mut vec![0; count])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Starts a thread that discards the received bytes. Returns the connection, on which the
    /// caller can still send, and the thread.
    pub(crate) fn receive_in_background(self) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let sending = Self { stream: BufReader::with_capacity(0, self.stream.get_ref().try_clone()?) };
        let mut receiving = self.stream;
        let thread = thread::spawn(move || while receiving.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
        Ok((sending, thread))
    }

    fn receive_token(&mut self) -> io::Result<Token> {
        let hello = self.receive()?;
        // Skips the magic bytes, the version, the length of the body and the kind of answer. Then
        // skips the three settings, the number of extensions, and the ID and length of the only
        // extension. Then skips the size of the retransmit buffer, and the flag of a resumption.
        let mut rest = &hello[5..];
        take_varint(&mut rest)?;
        rest = rest.get(1..).ok_or(ErrorKind::InvalidData)?;
        for _ in 0..7 {
            take_varint(&mut rest)?;
        }
        rest = rest.get(1..).ok_or(ErrorKind::InvalidData)?;
        Ok(Token(rest.to_vec()))
    }
}

/// Encodes a client hello with the extension for resumption.
fn resumable(claim: &[u8]) -> Vec<u8> {
    let extension = [&varint(1 << 20), claim].concat();
    let login = string("mallory");
    let body = [
        &encode_settings(SETTINGS),
        &varint(login.len() as u64),
        &login,
        &varint(1),
        &varint(RESUMPTION.into()),
        &varint(extension.len() as u64),
        &extension,
    ];
    envelope(*b"SKTS", 1, &body.map(Vec::as_slice).concat())
}

fn take_varint(bytes: &mut &[u8]) -> io::Result<()> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).ok_or(ErrorKind::InvalidData)?;
    *bytes = &bytes[length + 1..];
    Ok(())
}
