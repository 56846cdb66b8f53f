//! What a peer can make a server hold, in bytes that are allocated. Each test has one thread, whose memory is counted.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

#[path = "bad_input/raw.rs"]
#[allow(dead_code, reason = "it is made for more than this")]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use allocation_counter::measure;
use raw::{ECHO, FAILURE, REPLY, Raw, TERMS, WAIT, request, request_within, string};
use sockets::{Limits, Server};
use sockets_tests::eventually;
use tokio::{
    io::{DuplexStream, duplex},
    runtime::Builder,
    sync::{Mutex, Semaphore},
    time::sleep,
};

/// What a server serves.
#[sockets::group("Bad")]
trait Bad {
    async fn echo(&self, text: &str) -> String;
    async fn wait(&self) -> Vec<u8>;
}

/// Handlers that wait for permission, and return replies of a given length.
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

    /// Waits until so many handlers have begun.
    async fn have_begun(&self, count: usize) {
        eventually("the handlers begin", || self.begun.load(Ordering::Relaxed) >= count).await;
    }

    fn begin(&self) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.running))
    }
}

/// A handler that has not ended.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bad for Waiting {
    /// Holds the lock while it waits.
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

/// Returns the most bytes that are allocated at once while the future runs.
fn peak<F: Future<Output = ()>>(future: F) -> usize {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    usize::try_from(measure(|| runtime.block_on(future)).bytes_max).unwrap()
}

/// A server, and a client that reads only what a test reads.
async fn connect(waiting: &Waiting, limits: Limits) -> (Server, Raw<DuplexStream>) {
    let server = Server::builder().serve(BadServer::new(waiting.clone())).limits(limits).build();
    let (near, far) = duplex(64 * 1024);
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    raw.log_in(TERMS).await;
    (server, raw)
}

const QUEUE: u32 = 64 * 1024;
/// Of a reply.
const LARGE: usize = 512 * 1024;
const CALLS: u8 = 64;

fn limits() -> Limits {
    Limits { outgoing_queue: QUEUE, ..Limits::default() }
}

#[test]
fn replies_to_a_slow_reader_are_bounded_by_bytes() {
    let peak = peak(async {
        let waiting = Waiting::new(LARGE);
        let (_server, mut raw) = connect(&waiting, limits()).await;
        for id in 0..CALLS {
            raw.send(&request(id.into(), WAIT, &[])).await;
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
        raw.send(&request(100, ECHO, &string("small"))).await;
        for id in 0..CALLS {
            raw.send(&request(id.into(), WAIT, &[])).await;
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
fn a_held_handler_ends_with_its_deadline() {
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
        assert_eq!(raw.receive().await.unwrap()[0], REPLY, "what was held has been released");
    });
}
