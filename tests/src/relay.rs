//! A link over real TCP that can be frozen, cut, slowed down, chopped up and corrupted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

/// How much is carried at once.
const CHUNK: usize = 4096;
/// The kernel buffers of a slow link.
const SMALL_BUFFER: u32 = 64 * 1024;
/// How much of the time in which a slow link had nothing to carry it makes up for: timers are not exact.
const BURST: Duration = Duration::from_millis(20);

/// What happens to the bytes that go through a [`Relay`], in both directions. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing gets through, and nothing is closed.
    pub frozen: bool,
    /// Each chunk is held for so long.
    pub delay: Duration,
    /// Each byte is sent by itself.
    pub bytewise: bool,
    /// How many bytes are carried a second in each direction, of each connection.
    pub bytes_per_second: Option<u32>,
    /// One bit of every so many bytes is flipped, from the client to the server.
    pub corrupts: Option<usize>,
}

/// Between clients and a server.
pub struct Relay {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Whether connections may be made; each change cuts those that there are.
    opens: watch::Sender<bool>,
    made: Arc<AtomicUsize>,
    listener: AbortHandle,
}

impl Relay {
    /// A relay to a server at this address.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the system has a port");
        Self::with(listener, server, false)
    }

    /// A relay to a server at this address whose connections carry this much, with small buffers in the kernel.
    pub fn slow(server: SocketAddr, bytes_per_second: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.set_recv_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("the system has a port");
        let relay = Self::with(socket.listen(1024).expect("a listener"), server, true);
        relay.set(Weather { bytes_per_second: Some(bytes_per_second), ..Weather::default() });
        relay
    }

    fn with(listener: TcpListener, server: SocketAddr, is_narrow: bool) -> Self {
        let addr = listener.local_addr().expect("it is bound");
        let ((weather, seen), (opens, is_open)) = (watch::channel(Weather::default()), watch::channel(true));
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
        Self { addr, weather, opens, made, listener: listener.abort_handle() }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("tcp://{}", self.addr)
    }

    /// Where clients connect, for any scheme.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections have been made.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// From now on it is like this for all connections.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts all connections, and loses what is on its way; others can be made at once.
    pub fn cut(&self) {
        self.opens.send_replace(true);
    }

    /// Cuts all connections, and takes no others until [`cut`](Self::cut).
    pub fn shut(&self) {
        self.opens.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn connect(
    near: TcpStream,
    server: SocketAddr,
    is_narrow: bool,
    weather: watch::Receiver<Weather>,
    mut is_open: watch::Receiver<bool>,
) {
    let socket = TcpSocket::new_v4().expect("a socket");
    if is_narrow {
        socket.set_send_buffer_size(SMALL_BUFFER).expect("a buffer");
        socket.set_recv_buffer_size(SMALL_BUFFER).expect("a buffer");
    }
    let Ok(far) = socket.connect(server).await else { return };
    for end in [&near, &far] {
        // Where it fails, the connection has been lost already.
        let _ = end.set_nodelay(true);
        // A cut loses what is on its way; an end that is passed on has been waited for.
        let _ = end.set_zero_linger();
    }
    let ((from_client, to_client), (from_server, to_server)) = (near.into_split(), far.into_split());
    let forth = carry(from_client, to_server, weather.clone(), true);
    let back = carry(from_server, to_client, weather, false);
    tokio::select! {
        _ = async { tokio::join!(forth, back) } => {}
        _ = is_open.changed() => {}
    }
}

/// Carries bytes until there are no more, or they cannot be passed on.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    corruptible: bool,
) -> Option<()> {
    let (mut buffer, mut carried) = ([0; CHUNK], 0);
    let mut free_at = Instant::now();
    loop {
        let count = from.read(&mut buffer).await.ok()?;
        let Weather { delay, bytewise, bytes_per_second, corrupts, .. } =
            *weather.wait_for(|now| !now.frozen).await.ok()?;
        sleep(delay).await;
        if let Some(rate) = bytes_per_second {
            // The link has nothing to carry before it has something to read.
            free_at = free_at.max(Instant::now() - BURST)
                + Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX) / rate;
            sleep_until(free_at).await;
        }
        let bytes = &mut buffer[..count];
        if let Some(every) = corrupts.filter(|_| corruptible) {
            for (at, byte) in (carried..).zip(&mut *bytes).filter(|(at, _)| at % every == every - 1) {
                *byte ^= 1 << (at / every % 8);
            }
        }
        carried += count;
        for piece in bytes.chunks(if bytewise { 1 } else { CHUNK }) {
            to.write_all(piece).await.ok()?;
        }
        if count == 0 {
            return to.shutdown().await.ok();
        }
    }
}
