//! Peers flood a server as fast as they can, within the rules of the protocol.
//!
//! The memory that these peers cost is bounded, and the server still serves other clients. In the
//! suite, `wire::floods` tests peers that read nothing. To measure the processor time that attacks
//! cost, run `cargo run --release -p sockets-tests --bin attacks`.
//!
//! These tests have a process of their own, since they count allocations and load the processor.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use sockets::{Client, Server, Socket};
use sockets_tests::eventually;
use sockets_tests::raw::{
    self, CLOSE_FRAME, ECHO, FAILURE, NOTE, Raw, SETTINGS, UNKNOWN, WAIT, cancel, client_hello, emit, prefixed, reply,
    request, signatures, string,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    sync::{Notify, Semaphore, oneshot, watch},
};

/// The group that the server serves.
#[sockets::group("Bad")]
trait Bad {
    async fn echo(&self, text: &str) -> String;
    async fn wait(&self);
    #[emit]
    async fn note(&self);
}

/// The duration of the handler of `note`. A few such handlers fill a time slice of their
/// connection.
const NOTE_TAKES: Duration = Duration::from_micros(50);
/// Duration of a long handler. A single long handler takes as long as several time slices of its
/// connection.
const LONG: Duration = Duration::from_millis(5);

#[derive(Clone)]
struct Counting {
    notes: Arc<AtomicUsize>,
    note_takes: Duration,
    waiting: Arc<AtomicUsize>,
    most_waiting: Arc<AtomicUsize>,
}

impl Counting {
    fn new(note_takes: Duration) -> Self {
        Self { notes: Arc::default(), note_takes, waiting: Arc::default(), most_waiting: Arc::default() }
    }
}

impl Bad for Counting {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn wait(&self) {
        struct Ended(Arc<AtomicUsize>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let now = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let _ended = Ended(Arc::clone(&self.waiting));
        self.most_waiting.fetch_max(now, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }

    async fn note(&self) {
        self.notes.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        while began.elapsed() < self.note_takes {}
    }
}

/// A server on a single thread. The tests count the allocations of this thread.
struct Alone {
    address: SocketAddr,
    counting: Counting,
    /// The semaphore from which each connection takes a permit before it is ready. There are enough
    /// permits unless a test removes them.
    ready: Arc<Semaphore>,
    server: Server,
    /// The client that does not flood.
    client: Client,
    begins: Arc<Notify>,
    ends: Arc<Notify>,
    peak: oneshot::Receiver<u64>,
}

impl Alone {
    async fn start() -> Self {
        Self::start_with(NOTE_TAKES).await
    }

    /// Starts a server. `note_takes` is the time for which the handler of `note` blocks its thread.
    async fn start_with(note_takes: Duration) -> Self {
        let counting = Counting::new(note_takes);
        let ready = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let permits = Arc::clone(&ready);
        let builder = Server::builder().serve(BadServer::new(counting.clone())).connected(move |_: Socket| {
            let permits = Arc::clone(&permits);
            async move { permits.acquire().await.unwrap().forget() }
        });
        let (begins, ends) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begin, end) = (Arc::clone(&begins), Arc::clone(&ends));
        let (sender, receiver) = oneshot::channel();
        let (tell_peak, peak) = oneshot::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let server = runtime.block_on(builder.bind("tcp://127.0.0.1:0")).unwrap();
            sender.send(server).unwrap();
            runtime.block_on(begin.notified());
            let counted = measure(|| runtime.block_on(end.notified()));
            // If the test has failed, the receiver no longer exists.
            let _ = tell_peak.send(counted.bytes_max);
        });
        let server: Server = receiver.await.unwrap();
        let address = server.local_addr();
        let client = Client::builder().connect(&format!("tcp://{address}")).await.unwrap();
        Self { address, counting, ready, server, client, begins, ends, peak }
    }

    /// Asserts that the server serves the other client while a flooder floods the server.
    async fn serves_others(&self) {
        let bad = BadClient::new(&self.client);
        for _ in 0..300 {
            assert_eq!(bad.echo("well").await.as_deref(), Ok("well"));
        }
    }

    fn flooder(&self) -> Option<Socket> {
        let sockets = self.server.sockets();
        // The first socket belongs to the other client.
        sockets.into_iter().nth(1)
    }

    /// Returns the highest number of bytes that the server had allocated at any time since the
    /// flood began.
    async fn peak(self) -> u64 {
        self.ends.notify_one();
        self.peak.await.unwrap()
    }
}

/// A thread that sends frames to the server until the test stops it. The thread also reads the
/// server's frames, and counts the frames that end a call.
struct Flooder {
    enough: mpsc::Sender<()>,
    /// The number of lots that the flooder has sent so far.
    lots: Arc<AtomicUsize>,
    thread: thread::JoinHandle<Flooded>,
}

/// The result of a flood.
struct Flooded {
    lots: usize,
    /// The Close frame, if the server has ended the connection with one.
    goodbye: Option<Vec<u8>>,
}

/// The number of calls that may be in flight.
const WINDOW: usize = 1024;
/// The number of calls that the flooder sends in a single lot.
const LOT: usize = 128;

impl Flooder {
    /// Starts a flooder. `lot` returns the frames of [`LOT`] calls. If the calls use the window,
    /// `ended` returns the number of calls whose share of the window a received frame returns.
    /// Otherwise `ended` is `None`.
    fn start(
        address: SocketAddr,
        mut lot: impl FnMut(usize) -> Vec<u8> + Send + 'static,
        ended: Option<fn(&[u8]) -> usize>,
    ) -> Self {
        let (enough, over) = mpsc::channel();
        let made = Arc::new(AtomicUsize::new(0));
        let made_count = Arc::clone(&made);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let Raw { stream } = Raw::established(address).await;
                let (mut read, mut write) = stream.into_split();
                let (mut lots, mut in_flight, mut goodbye) = (0, 0, None);
                let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
                let mut waiting = Vec::new();
                while over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    if waiting.is_empty() && in_flight + LOT <= WINDOW {
                        waiting = lot(lots * LOT);
                        lots += 1;
                        made_count.store(lots, Ordering::Relaxed);
                        in_flight += ended.map_or(0, |_| LOT);
                    }
                    tokio::select! {
                        biased;
                        came = read.read(&mut buffer) => match came {
                            Ok(came @ 1..) => bytes.extend_from_slice(&buffer[..came]),
                            _ => break,
                        },
                        sent = write.write(&waiting), if !waiting.is_empty() => match sent {
                            Ok(sent) => drop(waiting.drain(..sent)),
                            Err(_) => break,
                        },
                        () = tokio::time::sleep(Duration::from_millis(20)) => {}
                    }
                    for frame in whole_frames(&mut bytes) {
                        in_flight -= ended.map_or(0, |ended| ended(&frame));
                        goodbye = (frame.first() == Some(&CLOSE_FRAME)).then_some(frame);
                    }
                }
                Flooded { lots, goodbye }
            })
        });
        Self { enough, lots: made, thread }
    }

    fn stop(self) -> Flooded {
        drop(self.enough);
        self.thread.join().unwrap()
    }
}

fn whole_frames(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(prefix) = bytes[at..].first_chunk::<4>() {
        let length = u32::from_le_bytes(*prefix) as usize;
        let Some(frame) = bytes[at + 4..].get(..length) else { break };
        frames.push(frame.to_vec());
        at += 4 + length;
    }
    bytes.drain(..at);
    frames
}

/// Returns 1 if the frame answers a call, and 0 otherwise.
fn answered(frame: &[u8]) -> usize {
    usize::from(matches!(frame, [raw::REPLY | FAILURE, ..]))
}

/// Returns the number of calls in a credit. A credit returns at least a quarter of the window, and
/// fewer than 2^14 calls, so the number takes at most two bytes.
fn credited(frame: &[u8]) -> usize {
    match frame {
        [6, low, high, ..] if *low >= 0x80 => usize::from(low & 0x7f) | usize::from(*high) << 7,
        [6, low, ..] => usize::from(*low),
        _ => 0,
    }
}

fn lot_of(frames: impl Fn(u64) -> Vec<Vec<u8>>) -> impl FnMut(usize) -> Vec<u8> {
    move |first| (first as u64..(first + LOT) as u64).flat_map(&frames).flat_map(|frame| prefixed(&frame)).collect()
}

/// Floods the server. Returns the result, and the most bytes that the server had allocated during
/// the flood.
async fn flood(
    alone: Alone,
    lot: impl FnMut(usize) -> Vec<u8> + Send + 'static,
    ended: Option<fn(&[u8]) -> usize>,
) -> (Flooded, u64) {
    alone.begins.notify_one();
    let flooder = Flooder::start(alone.address, lot, ended);
    eventually("the flooder is connected", || alone.flooder().is_some()).await;
    // The flood continues while the server serves the other client.
    eventually("it floods", || flooder.lots.load(Ordering::Relaxed) > 16).await;
    alone.serves_others().await;
    let flooded = flooder.stop();
    assert!(flooded.lots > 16, "it floods: {}", flooded.lots);
    (flooded, alone.peak().await)
}

/// The bound on the server's memory during a flood, in bytes. Each flood sends far more bytes.
const BOUND: u64 = 1 << 20;

/// Fault 12 of RELIABILITY.md. The server returns a cancelled call's share of the window only with
/// the reply, so the window bounds the calls in flight.
#[tokio::test]
async fn cancelled_call_flood_is_bounded_and_others_are_served() {
    let alone = Alone::start().await;
    let counting = alone.counting.clone();
    let frames = |number| vec![request(number * 2, WAIT, &[]), cancel(number * 2)];
    let (flooded, peak) = flood(alone, lot_of(frames), Some(answered)).await;
    assert!(flooded.goodbye.is_none(), "it keeps to the protocol");
    assert!(counting.most_waiting.load(Ordering::Relaxed) <= WINDOW);
    assert!(peak < BOUND, "{peak} bytes");
    eventually("no handler is left", || counting.waiting.load(Ordering::Relaxed) == 0).await;
}

/// Fault 13 of RELIABILITY.md.
#[tokio::test]
async fn empty_emit_flood_is_bounded_and_others_are_served() {
    for key in [NOTE, UNKNOWN] {
        let alone = Alone::start().await;
        let (flooded, peak) = flood(alone, lot_of(move |_| vec![emit(key, &[])]), Some(credited)).await;
        assert!(flooded.goodbye.is_none(), "it keeps to the protocol");
        assert!(peak < BOUND, "{peak} bytes");
    }
}

/// Fault 14 of RELIABILITY.md. The server answers neither heartbeats nor frames of unknown calls.
#[tokio::test]
async fn windowless_frame_flood_is_bounded() {
    let floods: [fn(u64) -> Vec<u8>; 4] =
        [|_| vec![0x81], |_| vec![0x80], |number| cancel(number * 2), |number| reply(number * 2, b"forged")];
    for frame in floods {
        let alone = Alone::start().await;
        let (flooded, peak) = flood(alone, lot_of(move |number| vec![frame(number)]), None).await;
        assert!(flooded.goodbye.is_none(), "it keeps to the protocol");
        assert!(peak < BOUND / 4, "{peak} bytes");
    }
}

/// The peer reads no replies. As long as the unread replies fill the peer's queue, the server
/// starts no further calls of this peer.
#[tokio::test]
async fn unread_replies_are_bounded_and_others_are_served() {
    let alone = Alone::start().await;
    alone.begins.notify_one();
    let mut deaf = Raw::established(alone.address).await;
    let text = string(&"x".repeat(900));
    let calls: Vec<_> = (0..WINDOW as u64).flat_map(|number| prefixed(&request(number * 2, ECHO, &text))).collect();
    // The peer sends as many calls as its window allows.
    let sending = tokio::spawn(async move {
        deaf.send_bytes(&calls).await;
        deaf
    });
    alone.serves_others().await;
    assert!(alone.flooder().is_some_and(|flooder| flooder.is_connected()));
    let peak = alone.peak().await;
    assert!(peak < BOUND, "{peak} bytes");
    drop(sending.await.unwrap());
}

/// Fault 28 of RELIABILITY.md. Half of the connections are silent, and half complete the handshake.
#[tokio::test]
async fn connection_storm_is_bounded_and_others_are_served() {
    let alone = Alone::start().await;
    alone.begins.notify_one();
    let (enough, over) = watch::channel(false);
    let storm = (0..8).map(|number| {
        let (address, over) = (alone.address, over.clone());
        tokio::spawn(async move {
            let mut opened = 0;
            while !*over.borrow() {
                let raw = if number % 2 == 0 { Raw::connect(address).await } else { Raw::established(address).await };
                opened += 1;
                drop(raw);
            }
            opened
        })
    });
    let storm: Vec<_> = storm.collect();
    alone.serves_others().await;
    enough.send_replace(true);
    let mut opened = 0;
    for one in storm {
        opened += one.await.unwrap();
    }
    assert!(opened > 100, "{opened}");
    eventually("ended connections leave no socket", || alone.server.sockets().len() == 1).await;
    let peak = alone.peak().await;
    assert!(peak < 4 * BOUND, "{peak} bytes");
}

/// During another client's call, the server handles the flooder's emits of `note` for at most two
/// time slices. The task of the flooder's connection must therefore not wake itself after a time
/// slice. Otherwise tokio would poll for the other client's bytes only after 61 polls of tasks, and
/// each poll would handle emits for a time slice.
#[tokio::test]
async fn call_waits_for_few_time_slices_of_a_flood() {
    let alone = Alone::start().await;
    let flooder = Flooder::start(alone.address, lot_of(|_| vec![emit(NOTE, &[])]), Some(credited));
    let counts = notes_during_calls(&alone, 2 * WINDOW, 200).await;
    flooder.stop();
    // A time slice has 16 emits of `note`. The thread of the client itself may also be late.
    assert!(counts[counts.len() / 2] <= 6 * 16, "{counts:?}");
}

/// Makes calls from another client after the server has handled `first` emits of `note`. For each
/// call, counts the emits of `note` that the server handles during the call. Returns these counts
/// in ascending order.
async fn notes_during_calls(alone: &Alone, first: usize, calls: usize) -> Vec<usize> {
    let notes = || alone.counting.notes.load(Ordering::Relaxed);
    eventually("it floods", || notes() >= first).await;
    let bad = BadClient::new(&alone.client);
    let mut counts = Vec::new();
    for _ in 0..calls {
        let before = notes();
        assert_eq!(bad.echo("well").await.as_deref(), Ok("well"));
        counts.push(notes() - before);
    }
    counts.sort_unstable();
    counts
}

/// A time slice ends as soon as a handler has used up its time, even if few handlers have run.
#[tokio::test]
async fn flood_of_long_handlers_yields_after_each() {
    let alone = Alone::start_with(LONG).await;
    let flooder = Flooder::start(alone.address, lot_of(|_| vec![emit(NOTE, &[])]), Some(credited));
    let counts = notes_during_calls(&alone, 1, 40).await;
    flooder.stop();
    // A call waits for the running handler. If the call arrives late, it also waits for the next
    // handler.
    assert!(counts[counts.len() / 2] <= 2, "{counts:?}");
}

/// The server starts no calls before their connection is ready. When the connection becomes ready,
/// the server starts the waiting calls in time slices, too.
#[tokio::test]
async fn held_calls_yield_after_each_long_handler() {
    let alone = Alone::start_with(LONG).await;
    alone.ready.forget_permits(Semaphore::MAX_PERMITS);
    let mut raw = Raw::connect(alone.address).await;
    raw.send(&client_hello(SETTINGS, &string("ada"))).await;
    let notes: Vec<_> = (0..200).flat_map(|_| prefixed(&emit(NOTE, &[]))).collect();
    raw.send_bytes(&notes).await;
    // When the server has a socket for the flooder, the server has also read the notes.
    eventually("the flooder is connected", || alone.flooder().is_some()).await;
    alone.serves_others().await;
    alone.ready.add_permits(1);
    let (bad, mut calls) = (BadClient::new(&alone.client), 0);
    while alone.counting.notes.load(Ordering::Relaxed) < 200 {
        assert_eq!(bad.echo("well").await.as_deref(), Ok("well"));
        calls += usize::from(alone.counting.notes.load(Ordering::Relaxed) > 0);
    }
    // The server answers about one call after each note.
    assert!(calls >= 20, "{calls} calls");
}

/// Makes calls from the other client until the flooder has its reply. Returns the number of calls.
async fn calls_until(alone: &Alone, mut raw: Raw) -> usize {
    let answer = tokio::spawn(async move {
        let answer = raw.receive().await.unwrap();
        assert_eq!(answer[0], raw::REPLY, "{answer:?}");
    });
    let (bad, mut calls) = (BadClient::new(&alone.client), 0);
    while !answer.is_finished() {
        assert_eq!(bad.echo("well").await.as_deref(), Ok("well"));
        calls += 1;
    }
    answer.await.unwrap();
    calls
}

#[tokio::test]
async fn long_announcement_is_handled_in_time_slices() {
    let alone = Alone::start().await;
    let mut raw = Raw::established(alone.address).await;
    let entries: Vec<_> = (1..262_144_u64).map(|key| (key.to_le_bytes(), [1; 8])).collect();
    let mut bytes = prefixed(&signatures(&entries));
    let last = bytes.split_off(bytes.len() - 1);
    raw.send_bytes(&bytes).await;
    // When these calls end, the server has received all bytes but the last.
    alone.serves_others().await;
    raw.send_bytes(&[last, prefixed(&request(0, ECHO, &string("well")))].concat()).await;
    let calls = calls_until(&alone, raw).await;
    assert!(calls >= 10, "{calls} calls");
}

#[tokio::test]
async fn many_listeners_are_started_in_time_slices() {
    let alone = Alone::start().await;
    let mut raw = Raw::established(alone.address).await;
    let socket = alone.flooder().unwrap();
    for _ in 0..50 {
        let _ = socket.group("Bad").listen("note", |()| async { thread::sleep(LONG) });
    }
    let frames = [emit(NOTE, &[]), request(0, ECHO, &string("well"))];
    raw.send_bytes(&frames.map(|frame| prefixed(&frame)).concat()).await;
    let calls = calls_until(&alone, raw).await;
    // The server answers about one call after each listener.
    assert!(calls >= 10, "{calls} calls");
}
