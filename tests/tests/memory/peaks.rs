//! The bytes that a server allocates for a peer. Each test runs on a single thread and counts the
//! allocations of this thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use allocation_counter::measure;
use sockets::{DisconnectReason, Limits, Server};
use sockets_tests::eventually;
use sockets_tests::raw::{
    ECHO, FAILURE, NOTE, REPLY, Raw, SETTINGS, SUM, WAIT, client_hello, emit, prefixed, request, request_within,
    string, varint,
};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    runtime::Builder,
    sync::{Mutex, Semaphore},
    time::{Instant, sleep, timeout},
};

/// The group that a server serves.
#[sockets::group("Bad")]
trait Bad {
    async fn echo(&self, text: &str) -> String;
    async fn wait(&self) -> Vec<u8>;
}

/// Handlers that wait for permission, and then return replies of a given length.
#[derive(Clone)]
struct Waiting {
    length: usize,
    begun: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    wait: Arc<Semaphore>,
    echo: Arc<Semaphore>,
    lock: Arc<Mutex<()>>,
}

impl Waiting {
    fn new(length: usize) -> Self {
        Self {
            length,
            begun: Arc::default(),
            running: Arc::default(),
            wait: Arc::new(Semaphore::new(0)),
            echo: Arc::new(Semaphore::new(0)),
            lock: Arc::default(),
        }
    }

    /// Waits until at least `count` handlers have begun.
    async fn have_begun(&self, count: usize) {
        eventually("the handlers begin", || self.begun.load(Ordering::Relaxed) >= count).await;
    }

    fn begin(&self) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.running))
    }
}

/// Counts a handler as running until this value is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bad for Waiting {
    /// Waits for a permit while it holds the lock.
    async fn echo(&self, text: &str) -> String {
        let _running = self.begin();
        let _lock = self.lock.lock().await;
        let _permit = self.echo.acquire().await;
        text.to_owned()
    }

    async fn wait(&self) -> Vec<u8> {
        let _running = self.begin();
        let _permit = self.wait.acquire().await;
        vec![7; self.length]
    }
}

/// Returns the highest number of bytes that are allocated at any time while the future runs.
fn peak<F: Future<Output = ()>>(future: F) -> usize {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    usize::try_from(measure(|| runtime.block_on(future)).bytes_max).unwrap()
}

/// Connects a raw client to a server.
async fn connect(waiting: &Waiting, limits: Limits) -> (Server, Raw<DuplexStream>) {
    let server = Server::builder().serve(BadServer::new(waiting.clone())).limits(limits).build();
    let (near, far) = duplex(64 * 1024);
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    raw.log_in(SETTINGS).await;
    (server, raw)
}

const QUEUE: u32 = 64 * 1024;
/// The length of a large reply, in bytes.
const LARGE: usize = 512 * 1024;
const CALLS: u8 = 64;

fn limits() -> Limits {
    Limits::new().outgoing_queue(QUEUE)
}

#[test]
fn replies_to_a_slow_reader_are_bounded_by_bytes() {
    let peak = peak(async {
        let waiting = Waiting::new(LARGE);
        let (_server, mut raw) = connect(&waiting, limits()).await;
        for id in 0..CALLS {
            raw.send(&request_within(id.into(), 60_000, WAIT, &[])).await;
        }
        waiting.have_begun(CALLS.into()).await;
        waiting.wait.close();
        sleep(Duration::from_millis(50)).await;
        for _ in 0..CALLS {
            let reply = raw.receive().await.unwrap();
            assert_eq!((reply[0], reply.len()), (REPLY, LARGE + 5));
        }
    });
    assert!(peak < 12 * LARGE, "{peak} bytes are held for {CALLS} replies of {LARGE}");
}

#[test]
fn handlers_with_small_replies_run_while_large_replies_wait() {
    let peak = peak(async {
        let waiting = Waiting::new(LARGE);
        let (_server, mut raw) = connect(&waiting, limits()).await;
        raw.send(&request_within(100, 60_000, ECHO, &string("small"))).await;
        for id in 0..CALLS {
            raw.send(&request_within(id.into(), 60_000, WAIT, &[])).await;
        }
        waiting.have_begun(usize::from(CALLS) + 1).await;
        waiting.wait.close();
        sleep(Duration::from_millis(50)).await;
        assert!(waiting.lock.try_lock().is_err(), "a handler holds the lock");
        waiting.echo.close();
        eventually("the handler releases the lock", || waiting.lock.try_lock().is_ok()).await;
    });
    assert!(peak < 12 * LARGE, "{peak} bytes are held for {CALLS} replies of {LARGE}");
}

#[test]
fn paused_handler_ends_at_its_deadline() {
    peak(async {
        let waiting = Waiting::new(LARGE);
        let (_server, mut raw) = connect(&waiting, limits()).await;
        for id in 0..CALLS {
            raw.send(&request_within(id.into(), 300, WAIT, &[])).await;
        }
        waiting.have_begun(CALLS.into()).await;
        waiting.wait.close();
        eventually("the deadlines end all handlers", || waiting.running.load(Ordering::Relaxed) == 0).await;
        let mut replies = [0, 0];
        for _ in 0..CALLS {
            let frame = raw.receive().await.unwrap();
            replies[usize::from(frame[0] == FAILURE)] += 1;
        }
        assert!(replies[0] >= 1 && replies[1] >= CALLS / 2, "{replies:?} replies and failures");
        raw.send(&request(200, WAIT, &[])).await;
        assert_eq!(raw.receive().await.unwrap()[0], REPLY, "the held replies have been released");
    });
}

/// Checks that the server ends a session whose handlers are paused because the peer does not read
/// replies. The server does so even if the peer reads a byte a second. The handlers share a permit,
/// which stands for a lock of the application. `deadline` returns the deadline of each handler.
fn check_held_handlers(deadline: impl Fn(u8) -> Duration) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let waiting = Waiting::new(LARGE);
        let stall = Duration::from_secs(10);
        let (server, mut raw) = connect(&waiting, limits().stall(stall)).await;
        for id in 0..CALLS {
            let millis = deadline(id).as_millis().try_into().unwrap();
            raw.send(&request_within(id.into(), millis, WAIT, &[])).await;
        }
        while waiting.begun.load(Ordering::Relaxed) < CALLS.into() {
            sleep(Duration::from_millis(1)).await;
        }
        let (socket, held) = (server.sockets().remove(0), Instant::now());
        waiting.wait.add_permits(1);
        let trickle = async {
            loop {
                raw.stream.read_u8().await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        let reason = tokio::select! {
            reason = timeout(stall * 3, socket.disconnected()) => reason,
            () = trickle => unreachable!("it does not end"),
        };
        assert_eq!(reason, Ok(DisconnectReason::TooSlow));
        assert_eq!(held.elapsed().as_secs(), stall.as_secs());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(waiting.wait.available_permits(), 1, "the permit has been returned");
    });
}

#[test]
fn paused_handler_of_a_trickling_reader_ends_its_session() {
    check_held_handlers(|_| Duration::from_secs(600));
}

/// The handlers share a permit. At the deadline of a handler, the next handler gets the permit, so
/// each single handler is paused for less than `Limits::stall`. The server must nevertheless end
/// the session after `stall`.
#[test]
fn handlers_paused_in_succession_end_their_session() {
    // The first reply is being written, the second is queued, and the third waits.
    const REPLIED: u8 = 3;
    check_held_handlers(|id| Duration::from_secs(if id < REPLIED { 600 } else { u64::from(id - REPLIED + 1) * 4 }));
}

/// Returns a small call after heartbeats. The heartbeats fill the rest of a read buffer.
fn padded(frame: &[u8]) -> Vec<u8> {
    let heartbeat = prefixed(&[0x81]);
    let mut bytes = heartbeat.repeat((16 * 1024 - frame.len() - 4) / heartbeat.len());
    bytes.extend(prefixed(frame));
    bytes
}

/// The number of small calls with handlers that wait at the same time.
const HELD: u64 = 300;
/// Maximum memory of [`HELD`] small calls. If each call kept a read buffer of 16 KiB, the calls
/// together would exceed this maximum.
const HELD_MAX: usize = 300 * 4096 + (1 << 20);

#[test]
fn waiting_handlers_do_not_keep_their_read_buffers() {
    let peak = peak(async {
        let waiting = Waiting::new(0);
        let (_server, mut raw) = connect(&waiting, Limits::default()).await;
        for id in 0..HELD {
            raw.send_bytes(&padded(&request_within(id, 60_000, WAIT, &[]))).await;
        }
        waiting.have_begun(300).await;
    });
    assert!(peak < HELD_MAX, "{peak} bytes are held for {HELD} small calls");
}

#[test]
fn waiting_listeners_do_not_keep_their_read_buffers() {
    let peak = peak(async {
        let waiting = Waiting::new(0);
        let (server, mut raw) = connect(&waiting, Limits::default()).await;
        let socket = server.sockets().remove(0);
        for _ in 0..2 {
            let waiting = waiting.clone();
            socket.group("Bad").listen("note", move |text: String| {
                let waiting = waiting.clone();
                async move {
                    waiting.wait().await;
                    drop(text);
                }
            });
        }
        for _ in 0..HELD / 2 {
            raw.send_bytes(&padded(&emit(NOTE, &string("text")))).await;
        }
        waiting.have_begun(300).await;
    });
    assert!(peak < HELD_MAX, "{peak} bytes are held for {HELD} listeners");
}

#[test]
fn calls_held_before_ready_do_not_keep_their_read_buffers() {
    let peak = peak(async {
        let limits = Limits::new().connected(Duration::from_secs(60));
        let server = Server::builder().connected(|_| std::future::pending::<()>()).limits(limits).build();
        let (near, far) = duplex(64 * 1024);
        drop(server.accept(far));
        let mut raw = Raw { stream: near };
        raw.send(&client_hello(SETTINGS, &string("ada"))).await;
        assert_eq!(raw.receive().await.unwrap()[..4], *b"SKTS");
        for id in 0..HELD {
            raw.send_bytes(&padded(&request_within(id, 60_000, WAIT, &[]))).await;
        }
        sleep(Duration::from_millis(50)).await;
    });
    assert!(peak < HELD_MAX, "{peak} bytes are held for {HELD} small calls");
}

#[test]
fn calls_held_by_a_rate_do_not_keep_their_read_buffers() {
    let peak = peak(async {
        let waiting = Waiting::new(0);
        let limits = Limits::new().calls_per_second(1);
        let (_server, mut raw) = connect(&waiting, limits).await;
        for id in 0..HELD {
            raw.send_bytes(&padded(&request_within(id, 60_000, WAIT, &[]))).await;
        }
        sleep(Duration::from_millis(50)).await;
    });
    assert!(peak < HELD_MAX, "{peak} bytes are held for {HELD} small calls");
}

#[test]
fn untaken_replies_do_not_keep_their_read_buffers() {
    let peak = peak(async {
        let waiting = Waiting::new(0);
        let (server, mut raw) = connect(&waiting, Limits::default()).await;
        let socket = server.sockets().remove(0);
        let calls: Vec<_> = (0..HELD)
            .map(|_| {
                let socket = socket.clone();
                Box::pin(async move { socket.request::<u32>("ask", &()).await })
            })
            .collect();
        let mut calls: Vec<_> = calls.into_iter().map(sent).collect();
        for _ in 0..HELD {
            let request = raw.receive().await.unwrap();
            raw.send_bytes(&padded(&[&[REPLY], &id_of(&request)[..], &[7]].concat())).await;
        }
        sleep(Duration::from_millis(50)).await;
        for call in &mut calls {
            assert_eq!(call.await, Ok(7));
        }
    });
    assert!(peak < HELD_MAX + 64 * 16 * 1024, "{peak} bytes are held for {HELD} replies");
}

/// Polls a call once, which sends the call.
fn sent<F: Future + Unpin>(mut call: F) -> F {
    let polled = std::pin::pin!(&mut call).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending());
    call
}

/// Returns the id of a request. The reply to the request has the same id.
fn id_of(request: &[u8]) -> Vec<u8> {
    let end = request[1..].iter().position(|byte| *byte < 0x80).unwrap() + 1;
    request[1..=end].to_vec()
}

/// An enum that takes 32 bytes in memory, and 1 byte on the wire.
#[derive(serde::Serialize, serde::Deserialize)]
#[allow(dead_code, reason = "its size is what matters")]
enum Wide {
    Small,
    Large([u64; 3]),
}

#[test]
fn arguments_beyond_the_decoded_limit_are_refused() {
    const LENGTH: usize = 500_000;
    let peak = peak(async {
        let waiting = Waiting::new(0);
        let limits = Limits::new().max_decoded(8 << 20);
        let (server, mut raw) = connect(&waiting, limits).await;
        server.sockets().remove(0).group("Bad").listen("sum", |wide: Vec<Wide>| async move { wide.len() });
        let arguments = |length: usize| [varint(length as u64), vec![0; length]].concat();
        raw.send(&request(1, SUM, &arguments(LENGTH))).await;
        let text = raw.expect_failure(1, 3).await;
        assert!(text.contains("max_decoded"), "{text}");
        raw.send(&request(2, SUM, &arguments(1000))).await;
        assert_eq!(raw.receive().await.unwrap()[..2], [REPLY, 2], "the connection lives");
    });
    assert!(peak < 8 << 20, "{peak} bytes are held for {LENGTH} bytes of arguments");
}
