//! Large messages to audiences. As long as a member reads, it receives all messages, even if its
//! connection is slow or its queue is small.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockets::{Client, ClientBuilder, DisconnectReason, Limits, Server, Socket};
use sockets_tests::{Conditions, FirstSession, Relay, Transport};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// A rate in bytes per second.
const ONE_MBIT: u32 = 125_000;
const EIGHT_MBIT: u32 = 1_000_000;
const DEADLINE: Duration = Duration::from_secs(60);

#[sockets::group("Bulk")]
trait Bulk {
    #[emit]
    async fn send(&self, number: u32, bytes: &[u8]);
    #[emit(overflow = "drop_newest")]
    async fn drop_newest(&self, number: u32, bytes: &[u8]);
    #[emit(overflow = "drop_oldest")]
    async fn drop_oldest(&self, number: u32, bytes: &[u8]);
    #[emit(volatile)]
    async fn volatile(&self, number: u32, bytes: &[u8]);
    async fn length(&self, bytes: &[u8]) -> usize;
}

/// The messages that a member has received, in order. Each entry is the number and the length of a
/// message.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(u32, usize)>>>);

impl Received {
    fn note(&self, number: u32, bytes: &[u8]) {
        self.0.lock().unwrap().push((number, bytes.len()));
    }

    fn all(&self) -> Vec<(u32, usize)> {
        self.0.lock().unwrap().clone()
    }
}

impl Bulk for Received {
    async fn send(&self, number: u32, bytes: &[u8]) {
        self.note(number, bytes);
    }
    async fn drop_newest(&self, number: u32, bytes: &[u8]) {
        self.note(number, bytes);
    }
    async fn drop_oldest(&self, number: u32, bytes: &[u8]) {
        self.note(number, bytes);
    }
    async fn volatile(&self, number: u32, bytes: &[u8]) {
        self.note(number, bytes);
    }
    async fn length(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

struct Member {
    client: Client,
    socket: Socket,
    received: Received,
}

async fn serve(net: Transport, limits: Limits) -> Server {
    let builder =
        Server::builder().limits(limits).connected(|socket: Socket| async move { socket.join("room").unwrap() });
    net.serve(builder).await
}

fn builder(received: &Received) -> ClientBuilder {
    Client::builder().serve(BulkServer::new(received.clone()))
}

async fn member(net: Transport, server: &Server) -> Member {
    let received = Received::default();
    let before = server.sockets();
    let client = net.connect(server, builder(&received)).await;
    let socket = server.sockets().into_iter().find(|socket| !before.contains(socket)).unwrap();
    Member { client, socket, received }
}

/// Connects a member through a relay that forwards this number of bytes a second.
async fn slow_member(net: Transport, server: &Server, bytes_per_second: u32) -> (Member, Relay) {
    let relay = Relay::slow(server.local_addr(), bytes_per_second);
    let received = Received::default();
    let before = server.sockets();
    let client = net.connect_at(relay.addr(), builder(&received)).await;
    let socket = server.sockets().into_iter().find(|socket| !before.contains(socket)).unwrap();
    (Member { client, socket, received }, relay)
}

/// Waits until a member has received exactly the expected messages, in this order.
async fn receives(member: &Member, expected: &[(u32, usize)], within: Duration) {
    let began = Instant::now();
    while member.received.all().len() < expected.len() && member.client.is_connected() && began.elapsed() < within {
        sleep(Duration::from_millis(5)).await;
    }
    let received = member.received.all();
    assert_eq!(received, expected, "{:?} after {:?}", member.client.state(), began.elapsed());
}

fn queue(bytes: u32) -> Limits {
    Limits::new().outgoing_queue(bytes)
}

/// Emits messages of these sizes to the room in sequence. Waits until all members have received
/// them.
async fn burst(limits: Limits, members: usize, sizes: &[usize]) {
    let server = serve(Transport::Tcp, limits).await;
    let mut all = Vec::new();
    for _ in 0..members {
        all.push(member(Transport::Tcp, &server).await);
    }
    let room = BulkClient::new(&server.room("room"));
    let mut expected = Vec::new();
    for (number, size) in (0..).zip(sizes) {
        room.send(number, &vec![7; *size]).await.unwrap();
        expected.push((number, *size));
    }
    for member in &all {
        receives(member, &expected, Duration::from_secs(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_of_large_emits_loses_no_member() {
    burst(Limits::default(), 50, &[900_000; 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_beyond_default_queue_loses_no_member() {
    burst(Limits::default(), 9, &[3_000_000; 6]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn burst_to_small_queues_loses_no_member() {
    burst(queue(64 << 10), 9, &[800_000, 100, 1_500_000, 100, 3_000_000, 100, 4_000_000, 100]).await;
}

/// Almost the largest payload that a message can have.
const LARGEST: usize = (4 << 20) - 64;

/// Emits bursts of these sizes to a room with a slow member. After each burst, the link of the slow
/// member is idle for a fifth of the time.
async fn load_link(net: Transport, bytes_per_second: u32, limits: Limits, bursts: Vec<Vec<usize>>) {
    let server = serve(net, limits).await;
    let (slow, _relay) = slow_member(net, &server, bytes_per_second).await;
    let healthy = member(net, &server).await;
    let room = BulkClient::new(&server.room("room"));
    let (mut expected, mut numbers) = (Vec::new(), 0..);
    for sizes in bursts {
        let began = Instant::now();
        for size in sizes {
            let number = numbers.next().unwrap();
            room.send(number, &vec![7; size]).await.unwrap();
            expected.push((number, size));
        }
        receives(&slow, &expected, Duration::from_secs(60)).await;
        sleep(began.elapsed() / 4).await;
    }
    receives(&healthy, &expected, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_with_load_below_capacity_loses_nothing() {
    let mut loads = JoinSet::new();
    for net in [Transport::Tcp, Transport::Tls, Transport::Ws] {
        for limits in [Limits::default(), queue(64 << 10)] {
            let bursts = vec![vec![LARGEST, 20, 20], vec![900_000], vec![20, 200_000, 20], vec![100_000, 1_500_000]];
            loads.spawn(load_link(net, EIGHT_MBIT, limits.clone(), bursts));
            let bursts = vec![vec![300_000, 20], vec![70_000, 20, 70_000], vec![20, 20, 300_000], vec![20]];
            loads.spawn(load_link(net, ONE_MBIT, limits, bursts));
        }
    }
    loads.join_all().await;
}

/// Emits a large message and then small ones. The large message does not fit into the queue, the
/// window, the retransmit buffer or the kernel's buffers.
async fn small_emit_after_large_one(net: Transport, limits: Limits) {
    let server = serve(net, limits).await;
    let (slow, _relay) = slow_member(net, &server, EIGHT_MBIT).await;
    let all = BulkClient::new(&server.all());
    all.send(0, &vec![7; LARGEST]).await.unwrap();
    let mut expected = vec![(0, LARGEST)];
    for number in 1..20 {
        sleep(Duration::from_millis(20)).await;
        all.send(number, &[7]).await.unwrap();
        expected.push((number, 1));
    }
    receives(&slow, &expected, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_emit_after_large_one_arrives() {
    let mut tests = JoinSet::new();
    for net in [Transport::Tcp, Transport::Tls, Transport::Ws] {
        for limits in [Limits::default(), queue(64 << 10)] {
            tests.spawn(small_emit_after_large_one(net, limits));
        }
    }
    tests.join_all().await;
}

/// Runs these emits in sequence. Returns the duration of the longest emit.
async fn longest<F: Future<Output = Result<(), sockets::CallError>>>(emits: impl Iterator<Item = F>) -> Duration {
    let mut longest = Duration::ZERO;
    for emit in emits {
        let began = Instant::now();
        emit.await.unwrap();
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_member_is_disconnected_and_delays_others_once() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let healthy = member(Transport::Tcp, &server).await;
    let (frozen, relay) = slow_member(Transport::Tcp, &server, EIGHT_MBIT).await;
    relay.set(Conditions { frozen: true, ..Conditions::default() });
    let room = BulkClient::new(&server.room("room"));
    let bytes = vec![7; 100_000];
    let began = Instant::now();
    let longest = longest((0..100).map(|number| room.send(number, &bytes))).await;
    assert!(longest < Duration::from_millis(1500), "an emit waited {longest:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(timeout(Duration::from_secs(1), frozen.socket.disconnected()).await, Ok(DisconnectReason::TooSlow));
    let expected: Vec<_> = (0..100).map(|number| (number, bytes.len())).collect();
    receives(&healthy, &expected, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trickling_member_delays_an_emit_by_a_second_at_most() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let healthy = member(Transport::Tcp, &server).await;
    let (trickling, _relay) = slow_member(Transport::Tcp, &server, 20_000).await;
    let room = BulkClient::new(&server.room("room"));
    let bytes = vec![7; 500_000];
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { longest((0..30).map(|number| room.send(number, &bytes))).await });
    let longest = tasks.join_all().await[0];
    assert!(longest < Duration::from_millis(1500), "an emit waited {longest:?}");
    assert_eq!(timeout(Duration::from_secs(1), trickling.socket.disconnected()).await, Ok(DisconnectReason::TooSlow));
    let expected: Vec<_> = (0..30).map(|number| (number, 500_000)).collect();
    receives(&healthy, &expected, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossy_policies_keep_a_trickling_member() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let healthy = member(Transport::Tcp, &server).await;
    let (trickling, _relay) = slow_member(Transport::Tcp, &server, 20_000).await;
    let room = BulkClient::new(&server.room("room"));
    let bytes = vec![7; 300_000];
    let mut numbers = 0..;
    let began = Instant::now();
    for _ in 0..10 {
        room.drop_newest(numbers.next().unwrap(), &bytes).await.unwrap();
        room.drop_oldest(numbers.next().unwrap(), &bytes).await.unwrap();
        room.volatile(numbers.next().unwrap(), &[7]).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let expected = (0..30).map(|number| (number, if number % 3 == 2 { 1 } else { bytes.len() }));
    receives(&healthy, &expected.collect::<Vec<_>>(), Duration::from_secs(5)).await;
    assert!(trickling.client.is_connected());
    assert!(trickling.socket.stats().dropped_emits > 0);
    let received = trickling.received.all();
    assert!(received.is_sorted(), "{received:?}");
}

/// An emit to a room must not wait for the members of another room.
#[tokio::test(start_paused = true)]
async fn lagging_room_delays_no_emitter_of_another_room() {
    let limits = queue(1000).calls_in_flight(1);
    let server = Server::builder().limits(limits).build();
    let client = Client::builder().first_session(|peer| async move {
        peer.listen("note", |_: Vec<u8>| std::future::pending::<()>());
    });
    let _slow = client.connect_local(&server).await.unwrap();
    let lagging = server.sockets().pop().unwrap();
    let quick = member(Transport::Memory, &server).await;
    lagging.join("lagging").unwrap();
    quick.socket.join("quick").unwrap();
    let bytes = vec![7; 1000];
    for _ in 0..2 {
        server.room("lagging").emit("note", &bytes).await.unwrap();
    }
    let began = Instant::now();
    let room = server.room("lagging");
    let waiting = tokio::spawn(async move { room.emit("note", &bytes).await });
    let (room, mut expected) = (BulkClient::new(&server.room("quick")), Vec::new());
    for number in 0..10 {
        room.send(number, &[7]).await.unwrap();
        expected.push((number, 1));
        receives(&quick, &expected, Duration::from_secs(5)).await;
    }
    assert!(began.elapsed() < Duration::from_millis(500), "these emits took {:?}", began.elapsed());
    waiting.await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "the emit to the lagging room waits");
    assert_eq!(lagging.disconnected().await, DisconnectReason::TooSlow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emits_of_many_tasks_lose_no_member() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let mut members = Vec::new();
    for _ in 0..10 {
        members.push(member(Transport::Tcp, &server).await);
    }
    let mut emitters = JoinSet::new();
    for task in 0..20 {
        let room = BulkClient::new(&server.room("room"));
        emitters.spawn(async move {
            for number in 0..5 {
                room.send(task * 100 + number, &vec![7; 300_000]).await.unwrap();
            }
        });
    }
    emitters.join_all().await;
    for member in &members {
        let began = Instant::now();
        while member.received.all().len() < 100 && began.elapsed() < Duration::from_secs(20) {
            sleep(Duration::from_millis(5)).await;
        }
        let received = member.received.all();
        assert_eq!(received.len(), 100, "{:?}", member.socket.is_connected());
        for task in 0..20 {
            let of_task = received.iter().filter(|(number, _)| number / 100 == task).map(|(number, _)| number % 100);
            assert!(of_task.eq(0..5), "in order: {received:?}");
        }
    }
}

/// The member needs four seconds to read all messages. The last message therefore waits for longer
/// than the second for which an emit waits for a slow member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_member_that_keeps_reading_outlasts_many_emitters() {
    const EMITTERS: u32 = 20;
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let (slow, _relay) = slow_member(Transport::Tcp, &server, EIGHT_MBIT).await;
    let mut emitters = JoinSet::new();
    for number in 0..EMITTERS {
        let room = BulkClient::new(&server.room("room"));
        emitters.spawn(async move { room.send(number, &vec![7; 200_000]).await });
    }
    emitters.join_all().await.into_iter().for_each(Result::unwrap);
    let began = Instant::now();
    while slow.received.all().len() < EMITTERS as usize && slow.socket.is_connected() && began.elapsed() < DEADLINE {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(slow.received.all().len(), EMITTERS as usize, "{:?}", slow.client.state());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_and_leaving_member_misses_no_emit_in_between() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let stays = member(Transport::Tcp, &server).await;
    let moves = member(Transport::Tcp, &server).await;
    let room = BulkClient::new(&server.room("room"));
    let (mut of_all, mut of_some) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let is_in = number / 5 % 2 == 0;
        if is_in {
            moves.socket.join("room").unwrap();
        } else {
            moves.socket.leave("room");
        }
        room.send(number, &vec![7; 200_000]).await.unwrap();
        of_all.push((number, 200_000));
        if is_in {
            of_some.push((number, 200_000));
        }
    }
    receives(&stays, &of_all, Duration::from_secs(10)).await;
    receives(&moves, &of_some, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcast_requests_of_large_arguments_are_answered() {
    let server = serve(Transport::Tcp, queue(64 << 10)).await;
    let mut members = Vec::new();
    for _ in 0..10 {
        members.push(member(Transport::Tcp, &server).await);
    }
    let room = BulkClient::new(&server.room("room"));
    for (number, size) in (0..).zip([LARGEST, 1_000_000, 900_000, LARGEST]) {
        let bytes = vec![7; size];
        room.send(number, &bytes).await.unwrap();
        let mut replies = room.length(&bytes);
        let mut count = 0;
        while let Some((_, reply)) = replies.next().await {
            assert_eq!(reply, Ok(size));
            count += 1;
        }
        assert_eq!(count, members.len());
    }
}

/// Returns the largest length below 2,000 that `accepts` accepts.
async fn largest_accepted<F: Future<Output = bool>>(accepts: impl Fn(usize) -> F) -> usize {
    let mut largest = 0;
    for length in 0..2000 {
        if accepts(length).await {
            largest = length;
        }
    }
    largest
}

async fn size_limit_of_both(ours: u32, theirs: u32) {
    let limits = |max_frame| Limits::new().max_frame(max_frame);
    let server = Server::builder().limits(limits(ours)).build();
    let received = Received::default();
    let client = builder(&received).limits(limits(theirs)).connect_local(&server).await.unwrap();
    let socket = server.sockets().pop().unwrap();
    let (alone, all) = (BulkClient::new(&socket), BulkClient::new(&server.all()));
    let bytes = &vec![7; 2000];

    let emitted = largest_accepted(|length| {
        let alone = &alone;
        async move { alone.send(0, &bytes[..length]).await.is_ok() }
    });
    let emitted = emitted.await;
    let emitted_to_all = largest_accepted(|length| {
        let all = &all;
        async move { all.send(0, &bytes[..length]).await.is_ok() }
    });
    assert_eq!(emitted_to_all.await, emitted);

    let requested = largest_accepted(|length| {
        let alone = &alone;
        async move { alone.length(&bytes[..length]).await == Ok(length) }
    });
    let requested = requested.await;
    let requested_of_all = largest_accepted(|length| {
        let all = &all;
        async move { all.length(&bytes[..length]).next().await.is_some_and(|(_, reply)| reply == Ok(length)) }
    });
    assert_eq!(requested_of_all.await, requested);
    assert!(client.is_connected());
    // The client has received every accepted message, since it has answered the last request.
    assert_eq!(received.all().len(), 2 * (emitted + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn size_limit_is_the_same_for_a_socket_and_a_room() {
    size_limit_of_both(256, 256).await;
    size_limit_of_both(1000, 256).await;
    size_limit_of_both(256, 1000).await;
}
