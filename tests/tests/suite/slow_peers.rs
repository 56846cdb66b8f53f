//! Slow peers and blocking handlers must not affect other peers and connections.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde::{Serialize, Serializer};
use sockets::{Client, DisconnectReason, Limits, Peer, Server, Socket, test_util::Link};
use sockets_tests::*;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Time for which a handler blocks its thread. If a call of another client takes about as long, it
/// has waited for the handler.
const BLOCK: Duration = Duration::from_secs(2);

fn is_prompt(since: Instant) -> bool {
    since.elapsed() < BLOCK / 2
}

/// Emits far more to a room than the queue of a member holds. If `frozen`, one member reads
/// nothing.
async fn emit_to_healthy_members(limits: Limits, frozen: bool) {
    let server = Server::builder()
        .limits(limits)
        .connected(|socket: Socket| async move { socket.join("room").unwrap() })
        .build();
    let mut healthy = Vec::new();
    for _ in 0..5 {
        let received = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&received);
        let client = Client::builder().first_session(|peer| async move {
            peer.listen("note", move |(n, _): (u32, String)| {
                noted.lock().unwrap().push(n);
                async {}
            });
        });
        healthy.push((client.connect_local(&server).await.unwrap(), received));
    }
    let link = Link::to(&server);
    let _last = within(link.connect(once())).await.unwrap();
    let last = server.sockets().pop().unwrap();
    if frozen {
        link.freeze();
    }
    // This text is cheap to decode, even without optimization, so that a healthy member keeps up.
    let text = "x".repeat(1000);
    for n in 0..4000_u32 {
        within(server.room("room").emit("note", &(n, &text))).await.unwrap();
    }
    for (client, received) in &healthy {
        eventually("all messages are received", || received.lock().unwrap().len() == 4000 || !client.is_connected())
            .await;
        assert!(*received.lock().unwrap() == (0..4000).collect::<Vec<_>>(), "{client:?}");
    }
    if frozen {
        assert_eq!(within(last.disconnected()).await, DisconnectReason::TooSlow);
        assert_eq!(server.room("room").sockets().len(), 5);
    }
}

/// Fault 17 of RELIABILITY.md. The test pauses time, so that a loaded machine makes no member slow.
#[tokio::test(start_paused = true)]
async fn frozen_member_is_disconnected_and_others_lose_nothing() {
    emit_to_healthy_members(Limits::new().outgoing_queue(1 << 20), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn emit_loop_outruns_no_healthy_member() {
    emit_to_healthy_members(Limits::new().outgoing_queue(32 << 10), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frozen_peer_is_disconnected_after_the_write_timeout() {
    let limits = Limits::new().stall(Duration::from_millis(300));
    let server = Server::builder().limits(limits).build();
    let link = Link::to(&server);
    let client = within(link.connect(once())).await.unwrap();
    let socket = server.sockets().pop().unwrap();
    link.freeze();
    // The link holds this message, so no byte moves when the server sends the next message.
    socket.emit("nothing", &()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    socket.emit("nothing", &vec![0_u8; 200_000]).await.unwrap();
    let ended = timeout(Duration::from_secs(4), socket.disconnected()).await;
    assert_eq!(ended, Ok(DisconnectReason::TooSlow), "the server does not notice");
    link.restore();
    assert_eq!(within(client.disconnected()).await, DisconnectReason::TooSlow);
}

/// A reply that counts its encodings.
struct Counted(Arc<AtomicUsize>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        vec![0_u8; 10_000].serialize(serializer)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn unread_replies_are_bounded_and_continue_when_read() {
    let encoded = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&encoded);
    let server = Server::builder().limits(Limits::new().outgoing_queue(100_000));
    let server = server.connected(move |socket: Socket| {
        let counter = Arc::clone(&counter);
        async move {
            socket.listen("big", move |suspend: bool| {
                let reply = Counted(Arc::clone(&counter));
                async move {
                    if suspend {
                        tokio::task::yield_now().await;
                    }
                    reply
                }
            });
        }
    });
    let server = server.build();
    let (io, relay) = Relay::in_memory(&server);
    let client = Client::builder().connect_over(io).await.unwrap();
    relay.set(Conditions { client_frozen: true, ..Conditions::default() });
    let calls: Vec<_> = (0..1000)
        .map(|n| {
            let peer = Peer::clone(client.as_peer());
            tokio::spawn(async move { peer.request::<Vec<u8>>("big", &(n % 2 == 0)).await })
        })
        .collect();
    let mut before = usize::MAX;
    eventually("the count is stable", || {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, encoded.load(Ordering::Relaxed)) == encoded.load(Ordering::Relaxed)
    })
    .await;
    // The server encodes ten replies that fill the queue, and ten that it is already writing. In
    // addition, each of the four threads may find capacity at the same time and encode a reply. Up
    // to ten handlers that started while the queue filled may also encode replies, for which there
    // is no capacity.
    assert!(before <= 2 * 10 + 4 + 10, "{before} replies have been encoded");
    relay.set(Conditions::default());
    for call in calls {
        assert_eq!(within(call).await.unwrap().map(|reply| reply.len()), Ok(10_000));
    }
}

/// Starts a server. Its method `block` awaits `first`, reports that it runs, and blocks its thread.
async fn blocking_server<F>(first: impl Fn(Socket) -> F + Clone + Send + Sync + 'static) -> (Server, mpsc::Receiver<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (entered, running) = mpsc::channel();
    let server = Server::builder().connected(move |socket: Socket| {
        let (entered, first) = (entered.clone(), first.clone());
        async move {
            socket.listen("echo", |n: u32| async move { n });
            let caller = socket.clone();
            socket.listen("block", move |(): ()| {
                let (entered, first) = (entered.clone(), first(caller.clone()));
                async move {
                    first.await;
                    entered.send(()).unwrap();
                    std::thread::sleep(BLOCK);
                }
            });
        }
    });
    (Transport::Tcp.serve(server).await, running)
}

async fn blocked(running: mpsc::Receiver<()>) -> Instant {
    tokio::task::spawn_blocking(move || running.recv().unwrap()).await.unwrap();
    Instant::now()
}

/// One worker of tokio waits for the events of all connections. This worker may run a blocking
/// handler before another worker waits in its place (tokio's issue 4730). The test therefore keeps
/// another worker awake, as on a busy server.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn blocking_handler_delays_no_other_connection() {
    let (server, running) = blocking_server(|_| async {}).await;
    let (blocker, other) = (
        Transport::Tcp.connect(&server, Client::builder()).await,
        Transport::Tcp.connect(&server, Client::builder()).await,
    );
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let blocking = tokio::spawn(async move { blocker.request::<()>("block", &()).await });
    let since = blocked(running).await;
    for n in 0..1000 {
        assert_eq!(other.request::<u32>("echo", &n).await, Ok(n));
    }
    assert!(is_prompt(since), "{:?}", since.elapsed());
    awake.abort();
    assert_eq!(blocking.await.unwrap(), Ok(()));
}

/// A handler sends messages to other peers, and then blocks its thread. The messages must arrive
/// while the thread is blocked.
async fn what_was_sent_to_another_before_is_not_held_back<F>(
    first: impl Fn(Socket) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (server, running) = blocking_server(first).await;
    let blocker = Transport::Tcp.connect(&server, Client::builder()).await;
    let received = Arc::new(Notify::new());
    let notify = Arc::clone(&received);
    let other = Client::builder().first_session(|peer| async move {
        peer.listen("note", move |(): ()| {
            notify.notify_one();
            async {}
        });
    });
    let _other = Transport::Tcp.connect(&server, other).await;
    let blocking = tokio::spawn(async move { blocker.request::<()>("block", &()).await });
    let since = blocked(running).await;
    timeout(BLOCK * 2, received.notified()).await.unwrap();
    assert!(is_prompt(since), "{:?}", since.elapsed());
    assert_eq!(blocking.await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn emit_before_blocking_reaches_another_socket() {
    what_was_sent_to_another_before_is_not_held_back(|socket| async move {
        socket.server().sockets().last().unwrap().emit("note", &()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn emit_before_blocking_reaches_a_room() {
    what_was_sent_to_another_before_is_not_held_back(|socket| async move {
        socket.server().all().except(&socket).emit("note", &()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn each_emit_waits_at_most_a_second_for_a_slow_member() {
    let limits = Limits::new().outgoing_queue(64 << 10);
    let server = Server::builder()
        .limits(limits)
        .connected(|socket: Socket| async move { socket.join("room").unwrap() })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let relay = Relay::slow(server.local_addr(), 4_000_000);
    let _client = Client::builder().connect(&relay.url()).await.unwrap();
    let mut emits = JoinSet::new();
    for _ in 0..40 {
        let room = server.room("room");
        emits.spawn(async move {
            let began = Instant::now();
            // This text is cheap to encode, also without optimization.
            room.emit("note", &"x".repeat(800_000)).await.unwrap();
            began.elapsed()
        });
    }
    let longest = emits.join_all().await.into_iter().max().unwrap();
    assert!(longest < Duration::from_secs(3), "an emit waited for {longest:?}");
}
