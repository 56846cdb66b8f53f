//! Those who flood: as fast as they can, within what the protocol allows.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::raw::{ECHO, FAILURE, NOTE, REPLY, TERMS, WAIT, cancel, emit, greeting, prefixed, reply, request, string};

const CREDIT: u8 = 6;
const HEARTBEAT: u8 = 0x81;
/// How many calls may be in flight.
const WINDOW: u32 = 1024;
/// How many are made at once.
const LOT: u32 = 256;

/// What is done to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    Cancels,
    Requests,
    Emits,
    Heartbeats,
    StrayCancels,
    StrayReplies,
    Connections,
    Greetings,
    Deaf,
}

impl Flood {
    pub(crate) const ALL: [Self; 9] = [
        Self::Cancels,
        Self::Requests,
        Self::Emits,
        Self::Heartbeats,
        Self::StrayCancels,
        Self::StrayReplies,
        Self::Connections,
        Self::Greetings,
        Self::Deaf,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flood| flood.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cancels => "calls that are cancelled at once",
            Self::Requests => "calls",
            Self::Emits => "empty emits",
            Self::Heartbeats => "heartbeats",
            Self::StrayCancels => "cancels of nothing",
            Self::StrayReplies => "answers to nothing",
            Self::Connections => "connections that open and close",
            Self::Greetings => "connections that greet and close",
            Self::Deaf => "64 peers that read no replies",
        }
    }

    /// Floods, and prints what was sent.
    pub(crate) fn run(self, server: SocketAddr, time: Duration) {
        let until = Instant::now() + time;
        let (sent, what) = match self {
            Self::Connections | Self::Greetings => {
                let threads = [(); 4].map(|()| thread::spawn(move || storm(server, until, self == Self::Greetings)));
                (threads.into_iter().map(|thread| thread.join().unwrap()).sum(), "connections")
            }
            Self::Deaf => {
                let threads = [(); 64].map(|()| thread::spawn(move || deaf(server, until)));
                (threads.into_iter().map(|thread| thread.join().unwrap()).sum(), "calls")
            }
            _ => (self.on_one_connection(server, until), "frames"),
        };
        println!("{} {what}/s", u128::from(sent) * 1000 / time.as_millis());
    }

    fn on_one_connection(self, server: SocketAddr, until: Instant) -> u64 {
        let mut stream = logged_in(server).unwrap();
        let in_flight = Arc::new(AtomicU32::new(0));
        let (reading, ended) = (stream.try_clone().unwrap(), Arc::clone(&in_flight));
        thread::spawn(move || read(reading, &ended));
        let (mut sent, mut number) = (0, 0);
        while Instant::now() < until {
            let takes_window = matches!(self, Self::Cancels | Self::Requests | Self::Emits);
            if takes_window && in_flight.load(Ordering::Acquire) > WINDOW - LOT {
                thread::yield_now();
                continue;
            }
            let mut lot = Vec::new();
            for _ in 0..LOT {
                for frame in self.frames(number) {
                    lot.extend(prefixed(&frame));
                    sent += 1;
                }
                number += 1;
            }
            if takes_window {
                in_flight.fetch_add(LOT, Ordering::AcqRel);
            }
            if stream.write_all(&lot).is_err() {
                // It was disconnected, and comes again.
                return sent + if Instant::now() < until { self.on_one_connection(server, until) } else { 0 };
            }
        }
        sent
    }

    fn frames(self, number: u64) -> Vec<Vec<u8>> {
        let id = number * 2;
        match self {
            Self::Cancels => vec![request(id, WAIT, &[]), cancel(id)],
            Self::Requests => vec![request(id, ECHO, &string("x"))],
            Self::Emits => vec![emit(NOTE, &[])],
            Self::Heartbeats => vec![vec![HEARTBEAT]],
            Self::StrayCancels => vec![cancel(id)],
            Self::StrayReplies => vec![reply(id, &[])],
            Self::Connections | Self::Greetings | Self::Deaf => Vec::new(),
        }
    }
}

fn logged_in(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(&prefixed(&greeting(TERMS, &string("mallory"))))?;
    Ok(stream)
}

/// Takes what comes, and counts what it ends.
fn read(mut stream: TcpStream, in_flight: &AtomicU32) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
        let (mut at, mut ended) = (0, 0);
        while let Some(prefix) = bytes[at..].first_chunk::<4>() {
            let length = u32::from_le_bytes(*prefix) as usize;
            let Some(frame) = bytes[at + 4..].get(..length) else { break };
            ended += match frame {
                [REPLY | FAILURE, ..] => 1,
                [CREDIT, calls @ ..] => varint(calls),
                _ => 0,
            };
            at += 4 + length;
        }
        bytes.drain(..at);
        in_flight.fetch_sub(ended, Ordering::AcqRel);
    }
}

fn varint(bytes: &[u8]) -> u32 {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate() {
        number |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn storm(server: SocketAddr, until: Instant, greets: bool) -> u64 {
    let mut count = 0;
    while Instant::now() < until {
        let opened = if greets { logged_in(server) } else { TcpStream::connect(server) };
        count += u64::from(opened.is_ok());
    }
    count
}

/// Calls as long as that is possible without reading, and again on another connection.
fn deaf(server: SocketAddr, until: Instant) -> u64 {
    let text = string(&"x".repeat(1000));
    let mut count = 0;
    while Instant::now() < until {
        let Ok(mut stream) = logged_in(server) else { continue };
        let calls: Vec<_> =
            (0..u64::from(WINDOW)).flat_map(|number| prefixed(&request(number * 2, ECHO, &text))).collect();
        if stream.write_all(&calls).is_ok() {
            count += u64::from(WINDOW);
        }
        thread::sleep((until - Instant::now()).min(Duration::from_millis(500)));
    }
    count
}
