//! A relay between clients and a server. The relay can freeze, cut, delay, split and corrupt
//! connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{Identity, Server};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

/// The maximum number of bytes that the relay forwards in a single write.
const CHUNK: usize = 4096;
/// The size of the kernel buffers of a slow connection.
const SMALL_BUFFER: u32 = 64 * 1024;
/// The size of each buffer of a connection in memory.
const MEMORY_BUFFER: usize = 16 << 10;
/// The maximum delay that a connection with a limited rate may catch up on by forwarding faster
/// than its rate. Timers fire late. If the connection never caught up, it would be slower than its
/// rate.
const BURST: Duration = Duration::from_millis(20);

/// The effect of a [`Relay`] on its connections. By default, the relay has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `true` if the relay forwards no byte, but closes no connection.
    pub frozen: bool,
    /// `true` if the relay forwards no byte from the server to the client, but closes no
    /// connection.
    pub client_frozen: bool,
    /// The time by which the relay delays each chunk.
    pub delay: Duration,
    /// `true` if the relay writes each byte separately.
    pub bytewise: bool,
    /// The number of bytes per second that the relay forwards in each direction of each connection.
    pub bytes_per_second: Option<u32>,
    /// The number of bytes between two flipped bits. The relay flips bits only from the client to
    /// the server.
    pub corrupts: Option<usize>,
}

/// A relay between clients and a server.
pub struct Relay {
    /// The address to which clients connect. A relay in memory has `None`.
    addr: Option<SocketAddr>,
    conditions: watch::Sender<Conditions>,
    /// `true` if the relay accepts connections. Each change cuts the existing connections.
    opens: watch::Sender<bool>,
    made: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Relay {
    /// Creates a relay to a server at this address.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the system has a port");
        Self::with(listener, server, false)
    }

    /// Creates a relay with slow connections and small kernel buffers.
    pub fn slow(server: SocketAddr, bytes_per_second: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.set_recv_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("the system has a port");
        let relay = Self::with(socket.listen(1024).expect("a listener"), server, true);
        relay.set(Conditions { bytes_per_second: Some(bytes_per_second), ..Conditions::default() });
        relay
    }

    fn with(listener: TcpListener, server: SocketAddr, is_narrow: bool) -> Self {
        let addr = listener.local_addr().expect("it is bound");
        let ((conditions, seen), (opens, is_open)) = (watch::channel(Conditions::default()), watch::channel(true));
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let listener = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                if *is_open.borrow_and_update() {
                    counted.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(connect(near, server, is_narrow, seen.clone(), is_open));
                }
            }
        });
        Self { addr: Some(addr), conditions, opens, made, task: listener.abort_handle() }
    }

    /// Creates a relay with a single connection in memory, which works with paused time. Returns
    /// the client's end of the connection, too.
    pub fn in_memory<I: Identity>(server: &Server<I>) -> (DuplexStream, Self) {
        let (near, client) = duplex(MEMORY_BUFFER);
        let (far, accepted) = duplex(MEMORY_BUFFER);
        drop(server.accept(accepted));
        let ((conditions, seen), (opens, is_open)) = (watch::channel(Conditions::default()), watch::channel(true));
        let task = tokio::spawn(forward_both(split(near), split(far), seen, is_open)).abort_handle();
        (client, Self { addr: None, conditions, opens, made: Arc::new(AtomicUsize::new(1)), task })
    }

    /// Returns the URL to which clients connect.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.addr())
    }

    /// Returns the address to which clients connect, without a scheme.
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("a relay over TCP")
    }

    /// Returns the number of connections so far.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Sets the conditions of all connections.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// Cuts all connections, which loses the bytes in flight. Accepts new connections afterwards.
    pub fn cut(&self) {
        self.opens.send_replace(true);
    }

    /// Cuts all connections. Accepts no connections until [`cut`](Self::cut) is called.
    pub fn shut(&self) {
        self.opens.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(
    near: TcpStream,
    server: SocketAddr,
    is_narrow: bool,
    conditions: watch::Receiver<Conditions>,
    is_open: watch::Receiver<bool>,
) {
    let socket = TcpSocket::new_v4().expect("a socket");
    if is_narrow {
        socket.set_send_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.set_recv_buffer_size(SMALL_BUFFER).expect("a buffer");
    }
    let Ok(far) = socket.connect(server).await else { return };
    for end in [&near, &far] {
        // If this call fails, the connection is already lost.
        let _ = end.set_nodelay(true);
        // Reset the connection when it is dropped, so that the bytes in flight are lost if the
        // relay cuts the connection. If a peer ends its stream, no bytes are lost, because the
        // relay forwards the end before it drops the connection.
        let _ = end.set_zero_linger();
    }
    forward_both(near.into_split(), far.into_split(), conditions, is_open).await;
}

/// Forwards bytes in both directions. Returns when both streams have ended, or when the relay cuts
/// the connection.
async fn forward_both<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (from_client, to_client): (R, W),
    (from_server, to_server): (R, W),
    conditions: watch::Receiver<Conditions>,
    mut is_open: watch::Receiver<bool>,
) {
    let to_server = forward(from_client, to_server, conditions.clone(), true);
    let to_client = forward(from_server, to_client, conditions, false);
    tokio::select! {
        _ = async { tokio::join!(to_server, to_client) } => {}
        _ = is_open.changed() => {}
    }
}

/// Forwards bytes until the stream ends, or until a read or write fails.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut conditions: watch::Receiver<Conditions>,
    to_server: bool,
) -> Option<()> {
    let (mut buffer, mut forwarded) = (vec![0; CHUNK], 0);
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut buffer).await.ok()?;
        let flows = |now: &Conditions| !now.frozen && (to_server || !now.client_frozen);
        let Conditions { delay, bytewise, bytes_per_second, corrupts, .. } = *conditions.wait_for(flows).await.ok()?;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if let Some(rate) = bytes_per_second {
            // If a timer has fired late, the connection catches up by forwarding faster, but only
            // for a delay of at most `BURST`. A longer time is idle time, in which the connection
            // had no bytes to forward.
            free_at = free_at.max(Instant::now() - BURST)
                + Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / rate;
            sleep_until(free_at).await;
        }
        let bytes = &mut buffer[..count];
        if let Some(every) = corrupts.filter(|_| to_server) {
            for (at, byte) in (forwarded..).zip(&mut *bytes).filter(|(at, _)| at % every == every - 1) {
                *byte ^= 1 << (at / every % 8);
            }
        }
        forwarded += count;
        for chunk in bytes.chunks(if bytewise { 1 } else { CHUNK }) {
            to.write_all(chunk).await.ok()?;
        }
        if count == 0 {
            return to.shutdown().await.ok();
        }
    }
}
