//! Connections that become silent and stay open, and frames that begin and never end.

use std::{
    collections::BTreeSet,
    future, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{Client, DisconnectReason, Limits, Server, Socket};
use sockets_tests::raw::{self, CLOSE_FRAME, NO_EXTENSIONS, Raw, SETTINGS, encode_settings, envelope, string, varint};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    time::{Instant, sleep, timeout},
};

const HEARTBEAT: u8 = 0x81;
const SILENT: u8 = 7;
const HOUR: Duration = Duration::from_secs(3600);
const SILENCE: Duration = Duration::from_secs(45);
/// The tolerance for imprecise timers and for the scheduler.
const SLACK: Duration = Duration::from_millis(50);

/// A link between a client and a server. The link forwards frames, counts heartbeats, and can
/// become silent.
struct Link {
    heartbeats: [Arc<AtomicUsize>; 2],
    is_silent: Arc<AtomicBool>,
}

impl Link {
    fn to(server: &Server) -> (DuplexStream, Self) {
        let (near, client) = duplex(16 << 10);
        let (far, accepted) = duplex(16 << 10);
        drop(server.accept(accepted));
        let heartbeats: [Arc<AtomicUsize>; 2] = [Arc::default(), Arc::default()];
        let ((from_client, to_client), (from_server, to_server)) = (split(near), split(far));
        let is_silent = Arc::default();
        tokio::spawn(carry(from_client, to_server, Arc::clone(&heartbeats[0]), Arc::clone(&is_silent)));
        tokio::spawn(carry(from_server, to_client, Arc::clone(&heartbeats[1]), Arc::clone(&is_silent)));
        (client, Self { heartbeats, is_silent })
    }

    fn heartbeats(&self) -> [usize; 2] {
        [0, 1].map(|side| self.heartbeats[side].load(Ordering::Relaxed))
    }

    /// Makes the link silent. A silent link forwards nothing, and closes nothing.
    fn go_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }
}

/// Forwards whole frames until the link is silent.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    heartbeats: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
) {
    while let Ok(frame) = next_frame(&mut from).await {
        if is_silent.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
        heartbeats.fetch_add(usize::from(frame == [HEARTBEAT]), Ordering::Relaxed);
        if to.write_all(&raw::prefixed(&frame)).await.is_err() {
            return;
        }
    }
}

async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; from.read_u32_le().await? as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn connected(server_limits: Limits, client_limits: Limits) -> (Server, Socket, Client, Link) {
    let server = Server::builder().limits(server_limits).build();
    let (io, link) = Link::to(&server);
    let client = Client::builder().limits(client_limits).connect_over(io).await.unwrap();
    let socket = server.sockets().pop().unwrap();
    (server, socket, client, link)
}

fn bearing(silence: Duration) -> Limits {
    Limits::new().silence(silence)
}

/// Fault 16 of RELIABILITY.md.
#[tokio::test(start_paused = true)]
async fn silent_connection_ends_on_both_peers_in_time() {
    let (_server, socket, client, link) = connected(Limits::default(), Limits::default()).await;
    sleep(HOUR).await;
    assert!(socket.is_connected() && client.is_connected(), "an idle link is a good one");
    link.go_silent();
    let silent_since = Instant::now();
    let ended = |disconnected: DisconnectReason| (disconnected, silent_since.elapsed());
    let ((of_server, server_took), (of_client, client_took)) =
        tokio::join!(async { ended(socket.disconnected().await) }, async { ended(client.disconnected().await) });
    assert_eq!([of_server, of_client], [DisconnectReason::Silent, DisconnectReason::Silent]);
    for took in [server_took, client_took] {
        // The idle timeout counts from the last heartbeat. That heartbeat arrived at most 20 s
        // before the link became silent.
        assert!(took + Duration::from_secs(21) > SILENCE && took < SILENCE + SLACK, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_peer_sends_a_heartbeat_every_20_seconds() {
    let (_server, _socket, _client, link) = connected(Limits::default(), Limits::default()).await;
    sleep(HOUR).await;
    for heartbeats in link.heartbeats() {
        assert!((179..=181).contains(&heartbeats), "{heartbeats} in an hour");
    }
}

#[tokio::test(start_paused = true)]
async fn busy_connection_sends_no_heartbeats() {
    let (_server, socket, client, link) = connected(Limits::default(), Limits::default()).await;
    for _ in 0..1000 {
        socket.emit("news", &"none").await.unwrap();
        client.emit("news", &"none").await.unwrap();
        sleep(Duration::from_secs(9)).await;
    }
    assert_eq!(link.heartbeats(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn receiving_peer_sends_heartbeats() {
    let (_server, socket, client, link) = connected(Limits::default(), Limits::default()).await;
    for _ in 0..1000 {
        client.emit("news", &"none").await.unwrap();
        sleep(Duration::from_secs(9)).await;
    }
    let [of_client, of_server] = link.heartbeats();
    assert_eq!(of_client, 0);
    assert!(of_server > 0 && socket.is_connected(), "{of_server} heartbeats");
}

#[tokio::test(start_paused = true)]
async fn shorter_idle_timeout_causes_more_heartbeats() {
    let impatient = bearing(Duration::from_secs(1));
    let (_server, socket, client, link) = connected(Limits::default(), impatient).await;
    sleep(HOUR).await;
    assert!(socket.is_connected() && client.is_connected());
    let [of_client, of_server] = link.heartbeats();
    assert!((179..=181).contains(&of_client) && (7190..=7210).contains(&of_server), "{of_client}, {of_server}");
    link.go_silent();
    let silent_since = Instant::now();
    assert_eq!(client.disconnected().await, DisconnectReason::Silent);
    assert!(silent_since.elapsed() < Duration::from_secs(1) + SLACK);
}

#[tokio::test(start_paused = true)]
async fn connection_with_extreme_times_is_kept() {
    let least = Duration::from_millis(200);
    let nothing = Limits::new().heartbeat(least / 4).silence(least);
    let everything = Limits::new().heartbeat(Duration::MAX).silence(Duration::MAX);
    for (of_server, of_client) in [(nothing.clone(), everything.clone()), (everything, nothing)] {
        let (_server, socket, client, _link) = connected(of_server, of_client).await;
        sleep(Duration::from_secs(60)).await;
        assert!(socket.is_connected() && client.is_connected());
    }
}

/// Connects a raw peer. If `idle_timeout` is a number of milliseconds, the peer announces it.
async fn raw_peer(server: &Server, idle_timeout: Option<u64>) -> Raw<DuplexStream> {
    let (near, far) = duplex(16 << 10);
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    let extensions = idle_timeout.map_or(NO_EXTENSIONS.to_vec(), |idle_timeout| {
        let millis = varint(idle_timeout);
        [&[1, 1], &varint(millis.len() as u64)[..], &millis].concat()
    });
    raw.send(&envelope(*b"SKTS", 1, &[&encode_settings(SETTINGS)[..], &string("")[..], &extensions].concat())).await;
    raw.receive().await.expect("a server hello");
    assert_eq!(raw.receive().await.as_deref(), Some(&[7][..]), "Ready");
    raw
}

#[tokio::test(start_paused = true)]
async fn peer_without_heartbeats_may_be_silent() {
    let server = Server::builder().build();
    let mut raw = raw_peer(&server, None).await;
    let received = timeout(HOUR, raw.stream.read_u8()).await;
    assert!(received.is_err(), "{received:?}");
    assert_eq!(server.sockets().len(), 1);
}

/// Fault 16 of RELIABILITY.md. A peer agrees to send heartbeats, but then freezes and sends no
/// heartbeat.
#[tokio::test(start_paused = true)]
async fn silent_peer_with_heartbeats_is_disconnected() {
    let server = Server::builder().build();
    let mut raw = raw_peer(&server, Some(u64::MAX)).await;
    let since = Instant::now();
    loop {
        let frame = next_frame(&mut raw.stream).await.unwrap();
        if frame[0] == CLOSE_FRAME {
            assert_eq!(frame, [CLOSE_FRAME, SILENT]);
            break;
        }
        assert_eq!(frame, [HEARTBEAT]);
    }
    assert!(since.elapsed().abs_diff(SILENCE) < SLACK, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn undecodable_idle_timeout_is_not_understood() {
    let server = Server::builder().build();
    let (near, far) = duplex(16 << 10);
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    let extensions = [1, 1, 2, 0xff, 0xff];
    raw.send(&envelope(*b"SKTS", 1, &[&encode_settings(SETTINGS)[..], &string("")[..], &extensions].concat())).await;
    let text = raw.expect_rejected_hello().await;
    assert!(text.contains("keep-alive"), "{text}");
}

/// Fault 15 of RELIABILITY.md, after the handshake. The peer cannot send a heartbeat within a
/// frame, so a frame that takes too long ends the connection.
#[tokio::test(start_paused = true)]
async fn trickling_frame_ends_after_the_idle_timeout() {
    let server = Server::builder().build();
    for idle_timeout in [None, Some(45_000)] {
        let mut raw = raw_peer(&server, idle_timeout).await;
        // Before the frame, the peer is idle for some time. This idle time must not shorten or
        // extend the timeout of the frame.
        sleep(Duration::from_secs(if idle_timeout.is_none() { 600 } else { 30 })).await;
        raw.send_bytes(&(4_u32 << 20).to_le_bytes()).await;
        let since = Instant::now();
        let socket = server.sockets().pop().unwrap();
        let trickle = async {
            loop {
                raw.send_bytes(&[1]).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = trickle => {}
            reason = socket.disconnected() => assert_eq!(reason, DisconnectReason::Silent),
        }
        assert!(since.elapsed().abs_diff(SILENCE) < SLACK, "{:?}", since.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn large_frame_over_a_slow_connection_arrives() {
    const LARGE: usize = 1 << 20;
    let server = Server::builder().build();
    let mut raw = raw_peer(&server, Some(3_600_000)).await;
    let socket = server.sockets().pop().unwrap();
    let (received, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    socket.listen("large", move |bytes: Vec<u8>| {
        received.send(bytes.len()).unwrap();
        async {}
    });
    // The key of the method `large` outside of any group.
    let key = [0x6c, 0xc8, 0xd7, 0x82, 0xf7, 0xd7, 0xbe, 0xdd];
    let payload = [varint(LARGE as u64), vec![1; LARGE]].concat();
    let since = Instant::now();
    for piece in raw::prefixed(&raw::emit(key, &payload)).chunks(2048) {
        raw.send_bytes(piece).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(arrived.recv().await, Some(LARGE));
    assert!(since.elapsed() > 10 * SILENCE);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_many_connections_are_spread() {
    const PEERS: usize = 200;
    let server = Server::builder().build();
    let mut firsts = Vec::new();
    for _ in 0..PEERS {
        let mut raw = raw_peer(&server, Some(3_600_000)).await;
        firsts.push(tokio::spawn(async move {
            assert_eq!(next_frame(&mut raw.stream).await.unwrap(), [HEARTBEAT]);
            Instant::now()
        }));
    }
    let start = Instant::now();
    let mut tenths = BTreeSet::new();
    for first in firsts {
        let after = first.await.unwrap() - start;
        assert!(after <= Duration::from_secs(20) + SLACK, "{after:?}");
        tenths.insert(after.as_millis() / 100);
    }
    // If the server sent all heartbeats together, all would arrive within the same tenth of a
    // second. Instead, the server spreads them evenly over ten seconds, and thus over a hundred
    // tenths of a second.
    assert!(tenths.len() > 90, "200 heartbeats come in {} tenths of a second", tenths.len());
}

/// If bytes arrive while the thread of an endpoint is blocked, the endpoint must read these bytes
/// before it checks the idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn blocked_peer_does_not_assume_silence() {
    let limits = Limits::new().heartbeat(Duration::from_millis(50)).silence(Duration::from_millis(400));
    let server = Server::builder().limits(limits).bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let client = Client::builder().connect(&url).await.unwrap();
    server.sockets()[0].listen("block", |(): ()| {
        std::thread::sleep(Duration::from_secs(1));
        future::ready(())
    });
    for _ in 0..3 {
        assert_eq!(client.request::<()>("block", &()).await, Ok(()));
    }
    assert!(client.is_connected());
}
