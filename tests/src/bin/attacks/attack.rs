//! The attacks. Each attack is a flood by a hostile peer.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use sockets_tests::{
    raw::{cancel, emit, prefixed, reply, request, request_within, signatures, string, varint},
    raw_websocket::{BINARY, CONTINUATION, FIN, PING, frame},
};

use crate::peer::{Peer, sent};

/// The keys of the methods of the group `Attacked`. A key is the beginning of a SHA-256 hash over
/// the group's path, a zero byte and the method's name.
const ECHO: [u8; 8] = [0xf8, 0x3a, 0x9b, 0x99, 0xd5, 0x7c, 0x9b, 0x22];
const WAIT: [u8; 8] = [0xd4, 0x5f, 0x19, 0xcc, 0xe1, 0x53, 0x41, 0x69];
const HOLD: [u8; 8] = [0x21, 0xfc, 0x6a, 0x9b, 0x1b, 0x0f, 0x4f, 0xf4];
const WORK: [u8; 8] = [0x1e, 0xe5, 0x85, 0x95, 0xb0, 0xd7, 0xb5, 0xd4];
const LATE: [u8; 8] = [0xe1, 0xf8, 0x04, 0x8b, 0xf9, 0xef, 0x9d, 0xff];
const DECODE: [u8; 8] = [0xdc, 0xac, 0xf6, 0xdb, 0x53, 0xd2, 0x41, 0xd5];
const NOTE: [u8; 8] = [0xcb, 0xef, 0xa7, 0x35, 0x1f, 0xab, 0x09, 0x78];

const HEARTBEAT: u8 = 0x81;
const ACKNOWLEDGED: u8 = 0x82;
/// The number of calls that may be in flight.
const WINDOW: u64 = 1024;
/// The number of frames in a write.
const BATCH: u64 = 256;
/// The length of a payload that almost fills a frame.
const LARGE_PAYLOAD: usize = (4 << 20) - 64;
/// The number of values in a large argument. With 32 bytes for each value, the argument almost
/// reaches `max_decoded`.
const WIDE: usize = (64 << 20) / 32 - 1024;
/// Number of sessions that an attack abandons. The number is large: if the server had no limit for
/// detached sessions, their memory would exceed the allowed memory many times.
const ABANDONED: u32 = 200;

/// An attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) scheme: &'static str,
    /// The number of connections. Each connection has a thread of its own.
    pub(crate) connections: u32,
    /// Attacks over a single connection until the connection ends.
    connection: fn(SocketAddr) -> io::Result<()>,
    /// The number of bytes by which the server's memory may grow.
    limit: u64,
}

const fn tcp(name: &'static str, connections: u32, connection: fn(SocketAddr) -> io::Result<()>, limit: u64) -> Attack {
    Attack { name, scheme: "tcp", connections, connection, limit }
}

const fn websocket(name: &'static str, connections: u32, connection: fn(SocketAddr) -> io::Result<()>) -> Attack {
    Attack { name, scheme: "ws", connections, connection, limit: 3 * CONNECTION }
}

pub(crate) const ATTACKS: [Attack; 25] = [
    websocket("WebSocket pings, pongs unread", 1, unread_pings),
    websocket("3 × empty WebSocket fragments", 3, empty_fragments),
    tcp("1,000 handlers of 5 ms", 1, |server| slow_handlers(server, 1000, 5), CONNECTION),
    tcp("2 × 1,000 handlers of 5 ms", 2, |server| slow_handlers(server, 1000, 5), 2 * CONNECTION),
    tcp("100 handlers of 50 ms", 1, |server| slow_handlers(server, 100, 50), CONNECTION),
    tcp("4 × 64 handlers of 50 ms", 4, |server| slow_handlers(server, 64, 50), 4 * CONNECTION),
    tcp("overdue calls", 1, overdue_calls, CONNECTION),
    tcp("large calls abandoned", 4, abandon_large_calls, SESSIONS),
    tcp("waiting handlers abandoned", 4, abandon_waiting_handlers, SESSIONS),
    tcp("late large replies abandoned", 4, abandon_late_replies, SESSIONS),
    tcp("256 large replies, read slowly", 1, read_slowly, CONNECTION),
    tcp("Signatures of 4 MiB", 1, large_signatures, CONNECTION),
    tcp("impossible claims", 2, impossible_claims, SESSIONS),
    tcp("10 × wide enums", 10, wide_enums, 10 * (CONNECTION + MAX_DECODED)),
    tcp("10 × calls among heartbeats", 10, calls_among_heartbeats, 40 * BYTES_IN_FLIGHT),
    tcp("calls cancelled at once", 1, canceled_calls, CONNECTION),
    tcp("calls", 1, calls, CONNECTION),
    tcp("emits", 1, emits, CONNECTION),
    tcp("heartbeats", 1, |server| flood(server, |_| vec![HEARTBEAT]), CONNECTION),
    tcp("cancels of unknown calls", 1, |server| flood(server, cancel), CONNECTION),
    tcp("replies to unknown calls", 1, |server| flood(server, |id| reply(id, &[])), CONNECTION),
    tcp("acknowledgements", 1, |server| flood(server, |_| [&[ACKNOWLEDGED][..], &varint(0)].concat()), CONNECTION),
    tcp("4 × connections that open and close", 4, connect_and_close, 4 * CONNECTION),
    tcp("4 × connections that log in and close", 4, log_in_and_close, 4 * CONNECTION),
    tcp("64 × unread replies", 64, unread_replies, 64 * CONNECTION),
];

/// The defaults of the server's limits.
const BYTES_IN_FLIGHT: u64 = 1 << 20;
const MAX_DECODED: u64 = 64 << 20;
const MAX_FRAME: u64 = 4 << 20;
const OUTGOING_QUEUE: u64 = 4 << 20;
const RESUME_BYTES: u64 = 1 << 20;
const RESUME_SESSIONS_BYTES: u64 = 64 << 20;

/// The maximum memory that the server may use for a connection. The memory includes a partial
/// frame, the calls in flight, the queued replies, and the frames that the peer has not
/// acknowledged. The server accepts the last call and the last reply as a whole, even beyond their
/// limits. So the sum includes an additional frame for each of the two.
const CONNECTION: u64 = 3 * MAX_FRAME + BYTES_IN_FLIGHT + OUTGOING_QUEUE + RESUME_BYTES;

/// The memory that four connections and all detached sessions may cause.
const SESSIONS: u64 = RESUME_SESSIONS_BYTES + 4 * CONNECTION;

impl Attack {
    /// Returns the number of bytes by which the server's memory may grow.
    pub(crate) fn limit(&self) -> u64 {
        /// The memory of the threads' buffers, and freed memory that the allocator does not return
        /// to the system.
        const PROCESS: u64 = 24 << 20;
        self.limit + PROCESS
    }

    /// Starts the threads of the attack, which run until the process ends.
    pub(crate) fn start(&self, server: SocketAddr) {
        let connection = self.connection;
        for _ in 0..self.connections {
            thread::spawn(move || {
                loop {
                    // If the server closes the connection, this thread continues the attack on a
                    // new connection.
                    if connection(server).is_err() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    }
}

fn batch(frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    frames.flat_map(|frame| prefixed(&frame)).collect()
}

/// Sends frames endlessly, and discards received bytes.
fn flood(server: SocketAddr, frame: fn(u64) -> Vec<u8>) -> io::Result<()> {
    let (mut peer, _) = Peer::log_in(server)?.receive_in_background()?;
    let batch = batch((0..BATCH).map(|number| frame(2 * number)));
    loop {
        peer.write(&batch)?;
        sent(BATCH);
    }
}

/// Fills the window with calls, and sends the next calls only after all previous calls have
/// completed. So the attacker never exceeds the window.
fn keep_in_flight(server: SocketAddr, frames: fn(u64) -> Vec<Vec<u8>>) -> io::Result<()> {
    let mut peer = Peer::log_in(server)?;
    let batches: Vec<_> = (0..WINDOW / BATCH)
        .map(|at| batch((at * BATCH..(at + 1) * BATCH).flat_map(|number| frames(2 * number))))
        .collect();
    for batch in &batches {
        peer.write(batch)?;
    }
    // The attacker reuses the IDs after all calls with these IDs have completed.
    loop {
        peer.receive_replies(WINDOW)?;
        sent(WINDOW);
        for batch in &batches {
            peer.write(batch)?;
        }
    }
}

fn calls(server: SocketAddr) -> io::Result<()> {
    keep_in_flight(server, |id| vec![request(id, ECHO, &string("x"))])
}

fn canceled_calls(server: SocketAddr) -> io::Result<()> {
    keep_in_flight(server, |id| vec![request(id, WAIT, &[]), cancel(id)])
}

/// Sends emits, but no more than the server's credit allows.
fn emits(server: SocketAddr) -> io::Result<()> {
    const CREDIT: u8 = 6;
    let mut peer = Peer::log_in(server)?;
    let batch = batch((0..BATCH).map(|_| emit(NOTE, &[0])));
    let mut free = WINDOW;
    loop {
        while free >= BATCH {
            peer.write(&batch)?;
            sent(BATCH);
            free -= BATCH;
        }
        if let [CREDIT, calls @ ..] = &peer.receive()?[..] {
            free += number(calls);
        }
    }
}

fn number(varint: &[u8]) -> u64 {
    let length = varint.iter().position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
    varint[..length].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

fn unread_pings(server: SocketAddr) -> io::Result<()> {
    let mut peer = Peer::log_in_over_websocket(server)?;
    let pings = frame(FIN | PING, b"12345678").repeat(1000);
    loop {
        peer.write(&pings)?;
        sent(1000);
    }
}

fn empty_fragments(server: SocketAddr) -> io::Result<()> {
    let mut peer = Peer::log_in_over_websocket(server)?;
    peer.write(&frame(BINARY, &[]))?;
    let fragments = frame(CONTINUATION, &[]).repeat(1000);
    loop {
        peer.write(&fragments)?;
        sent(1000);
    }
}

fn slow_handlers(server: SocketAddr, calls: u64, millis: u32) -> io::Result<()> {
    let mut peer = Peer::log_in(server)?;
    let calls_at_once = batch((0..calls).map(|number| request(2 * number, WORK, &varint(millis.into()))));
    loop {
        peer.write(&calls_at_once)?;
        sent(calls);
        peer.receive_replies(calls)?;
    }
}

fn overdue_calls(server: SocketAddr) -> io::Result<()> {
    const CALLS: u64 = 20;
    let mut peer = Peer::log_in(server)?;
    let calls_at_once = batch((0..CALLS).map(|number| request_within(2 * number, 150, WORK, &varint(100))));
    loop {
        peer.write(&calls_at_once)?;
        sent(CALLS);
        peer.receive_replies(CALLS)?;
    }
}

/// Closes the connection without a Close frame. After [`ABANDONED`] sessions, the attacker's thread
/// opens no more of them and waits until the attack ends.
fn abandon(peer: Peer) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    sent(1);
    drop(peer);
    if COUNT.fetch_add(1, Ordering::Relaxed) >= ABANDONED {
        thread::park();
    }
}

fn abandon_large_calls(server: SocketAddr) -> io::Result<()> {
    let (mut peer, _) = Peer::log_in_resumable(server)?;
    peer.send(&request_within(0, 60_000, HOLD, &string(&"x".repeat(LARGE_PAYLOAD))))?;
    peer.receive_kind(ACKNOWLEDGED)?;
    abandon(peer);
    Ok(())
}

fn abandon_waiting_handlers(server: SocketAddr) -> io::Result<()> {
    let (mut peer, _) = Peer::log_in_resumable(server)?;
    peer.write(&batch((0..1000).map(|number| request_within(2 * number, 60_000, WAIT, &[]))))?;
    peer.send(&request(2000, ECHO, &string("x")))?;
    peer.receive_replies(1)?;
    abandon(peer);
    Ok(())
}

fn abandon_late_replies(server: SocketAddr) -> io::Result<()> {
    let (mut peer, _) = Peer::log_in_resumable(server)?;
    let arguments = [varint(300), varint(LARGE_PAYLOAD as u64)].concat();
    peer.write(&batch((0..4).map(|number| request_within(2 * number, 60_000, LATE, &arguments))))?;
    peer.send(&request(8, ECHO, &string("x")))?;
    peer.receive_replies(1)?;
    abandon(peer);
    Ok(())
}

fn read_slowly(server: SocketAddr) -> io::Result<()> {
    const CALLS: u64 = 256;
    let mut peer = Peer::log_in(server)?;
    let arguments = [varint(300), varint(LARGE_PAYLOAD as u64)].concat();
    peer.write(&batch((0..CALLS).map(|number| request_within(2 * number, 60_000, LATE, &arguments))))?;
    sent(CALLS);
    loop {
        peer.receive_bytes(16 * 1024)?;
        thread::sleep(Duration::from_millis(5));
    }
}

fn large_signatures(server: SocketAddr) -> io::Result<()> {
    let (mut peer, _) = Peer::log_in(server)?.receive_in_background()?;
    let entries: Vec<_> = (1..=262_143_u64).map(|number| (number.to_be_bytes(), number.to_be_bytes())).collect();
    let frame = signatures(&entries);
    loop {
        peer.send(&frame)?;
        sent(1);
    }
}

/// Asks the server to resume a session at a position within the server's first frame.
fn impossible_claims(server: SocketAddr) -> io::Result<()> {
    let (peer, token) = Peer::log_in_resumable(server)?;
    drop(peer);
    let mut peer = Peer::resume(server, &token, 1)?;
    sent(1);
    peer.receive()?;
    Ok(())
}

fn wide_enums(server: SocketAddr) -> io::Result<()> {
    let mut peer = Peer::log_in(server)?;
    // The arguments are variants without fields, which take a byte each, and a pause.
    let arguments = [&varint(WIDE as u64)[..], &vec![0; WIDE], &varint(500)].concat();
    let call = request(0, DECODE, &arguments);
    loop {
        peer.send(&call)?;
        sent(1);
        peer.receive_replies(1)?;
    }
}

/// Sends calls among heartbeats, so that each read of the server ends with a small call. Each call
/// starts a handler that waits, so that the server has to keep the call.
fn calls_among_heartbeats(server: SocketAddr) -> io::Result<()> {
    const READ: usize = 16 * 1024;
    let mut peer = Peer::log_in(server)?;
    let heartbeat = prefixed(&[HEARTBEAT]);
    for number in 0..1000 {
        let call = prefixed(&request_within(2 * number, 60_000, WAIT, &[]));
        let heartbeats = heartbeat.repeat((READ - call.len()) / heartbeat.len());
        peer.write(&[heartbeats, call].concat())?;
        sent(1);
    }
    thread::park();
    Ok(())
}

fn connect_and_close(server: SocketAddr) -> io::Result<()> {
    std::net::TcpStream::connect(server)?;
    sent(1);
    Ok(())
}

fn log_in_and_close(server: SocketAddr) -> io::Result<()> {
    Peer::log_in(server)?;
    sent(1);
    Ok(())
}

fn unread_replies(server: SocketAddr) -> io::Result<()> {
    let mut peer = Peer::log_in(server)?;
    let text = string(&"x".repeat(1000));
    peer.write(&batch((0..WINDOW).map(|number| request(2 * number, ECHO, &text))))?;
    sent(WINDOW);
    thread::sleep(Duration::from_millis(500));
    Ok(())
}
