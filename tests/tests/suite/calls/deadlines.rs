//! If a call waits on the server until its deadline has passed, the server must not start its
//! handler.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use sockets::{Limits, Server, Socket};
use sockets_tests::raw::{
    ECHO, FAILURE, NOTE, REPLY, Raw, SETTINGS, client_hello, emit, prefixed, request_within, string,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::Semaphore,
    time::Instant,
};

/// The code of the failure *timeout*.
const TIMEOUT: u8 = 0x0a;

#[sockets::group("Bad")]
trait Bad {
    async fn echo(&self, text: &str) -> String;
    #[emit]
    async fn note(&self);
}

/// Counts the handlers that have started. Each handler blocks its thread for `blocks_for`
/// milliseconds.
#[derive(Clone, Default)]
struct Counting {
    started: Arc<AtomicUsize>,
    blocks_for: Arc<AtomicU64>,
}

impl Counting {
    fn block(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(self.blocks_for.load(Ordering::Relaxed)));
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }
}

impl Bad for Counting {
    async fn echo(&self, text: &str) -> String {
        self.block();
        text.to_owned()
    }

    async fn note(&self) {
        self.block();
    }
}

struct Rig {
    counting: Counting,
    /// The semaphore on which the `connected` hook waits for a permit.
    ready: Arc<Semaphore>,
    raw: Raw<DuplexStream>,
    _server: Server,
}

/// Starts a server, and connects a raw client. The server has answered the client hello, and its
/// `connected` hook still waits.
async fn rig(limits: Limits) -> Rig {
    let (counting, ready) = (Counting::default(), Arc::new(Semaphore::new(0)));
    let permits = Arc::clone(&ready);
    let server =
        Server::builder().limits(limits).serve(BadServer::new(counting.clone())).connected(move |_: Socket| {
            let permits = Arc::clone(&permits);
            async move { permits.acquire().await.unwrap().forget() }
        });
    let (server, (near, far)) = (server.build(), duplex(1 << 20));
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    raw.send(&client_hello(SETTINGS, &string("ada"))).await;
    let hello = raw.receive().await.unwrap();
    assert_eq!(hello[..4], *b"SKTS");
    Rig { counting, ready, raw, _server: server }
}

impl Rig {
    async fn get_ready(&mut self) {
        self.ready.add_permits(1);
        assert_eq!(self.raw.receive().await.as_deref(), Some(&[7][..]), "Ready");
    }

    /// Sends these frames in a single write.
    async fn send(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let bytes: Vec<_> = frames.into_iter().flat_map(|frame| prefixed(&frame)).collect();
        self.raw.send_bytes(&bytes).await;
    }

    async fn expect_reply(&mut self, id: u8) {
        let frame = self.raw.receive().await.unwrap();
        assert_eq!(frame[..2], [REPLY, id], "{frame:?}");
    }
}

fn echo(id: u64, millis: u64) -> Vec<u8> {
    request_within(id, millis, ECHO, &string("well"))
}

#[tokio::test(start_paused = true)]
async fn request_held_until_overdue_fails_with_timeout() {
    let mut rig = rig(Limits::default()).await;
    rig.send([echo(0, 100), echo(2, 5000), echo(4, 300)]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.get_ready().await;
    assert_eq!(rig.raw.expect_failure(0, TIMEOUT).await, "");
    rig.expect_reply(2).await;
    rig.expect_reply(4).await;
    assert_eq!(rig.counting.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn emit_held_until_overdue_starts_no_handler() {
    let limits = Limits::new().call_timeout(Duration::from_millis(100)).calls_in_flight(8);
    let mut rig = rig(limits).await;
    rig.send((0..8).map(|_| emit(NOTE, &[]))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.get_ready().await;
    // The server returns the window of the dropped emits, too.
    let mut returned = 0;
    while returned < 8 {
        let credit = rig.raw.receive().await.unwrap();
        assert_eq!(credit[0], 6, "{credit:?}");
        returned += credit[1];
    }
    rig.send([emit(NOTE, &[]), echo(0, 5000)]).await;
    rig.expect_reply(0).await;
    assert_eq!(rig.counting.started(), 2);
}

/// The server accepts one call a second. If the deadline of a request passes before the handler
/// could start, the request does not count against this rate.
#[tokio::test(start_paused = true)]
async fn overdue_requests_use_nothing_of_the_rate() {
    let mut rig = rig(Limits::new().calls_per_second(1)).await;
    rig.get_ready().await;
    let began = Instant::now();
    rig.send([echo(0, 100), echo(2, 100), echo(4, 100), echo(6, 100), echo(8, 5000)]).await;
    rig.expect_reply(0).await;
    for id in [2, 4, 6] {
        rig.raw.expect_failure(id, TIMEOUT).await;
    }
    rig.expect_reply(8).await;
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(rig.counting.started(), 2);
}

/// The timeout of each request counts from the arrival of its bytes, even if its handler starts
/// several time slices later.
#[tokio::test]
async fn requests_of_one_write_count_from_its_arrival() {
    let mut rig = rig(Limits::default()).await;
    rig.get_ready().await;
    rig.counting.blocks_for.store(30, Ordering::Relaxed);
    rig.send((0..20).map(|number| echo(2 * number, 75))).await;
    let mut overdue = 0;
    for number in 0..20 {
        let frame = rig.raw.receive().await.unwrap();
        assert_eq!(frame[1], 2 * number, "{frame:?}");
        match frame[..] {
            [REPLY, ..] => assert_eq!(overdue, 0, "requests start in order"),
            [FAILURE, _, TIMEOUT] => overdue += 1,
            _ => panic!("{frame:?}"),
        }
    }
    // Each handler takes 30 ms, and the deadline is at 75 ms. So the third handler may start, after
    // 60 ms, but the fourth, after 90 ms, must not.
    assert_eq!(rig.counting.started(), 20 - overdue);
    assert!((1..=3).contains(&rig.counting.started()), "{} have started", rig.counting.started());
}

#[tokio::test]
async fn emits_of_one_write_count_from_its_arrival() {
    let limits = Limits::new().call_timeout(Duration::from_millis(75));
    let mut rig = rig(limits).await;
    rig.get_ready().await;
    rig.counting.blocks_for.store(30, Ordering::Relaxed);
    rig.send((0..20).map(|_| emit(NOTE, &[])).chain([echo(0, 60_000)])).await;
    rig.expect_reply(0).await;
    // The count includes the handler of the request.
    assert!((2..=4).contains(&rig.counting.started()), "{} have started", rig.counting.started());
}
