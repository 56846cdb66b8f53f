//! Overflow policies. They apply when a member of an audience has a full queue.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use sockets::{Client, ClientBuilder, DisconnectReason, Limits, Server, Socket};
use sockets_tests::{FirstSession, Transport, eventually, every_transport, never, tcp_and_memory};
use tokio::runtime::{Builder, Handle};

/// Each message has a number and a thousand bytes.
#[sockets::group("News")]
trait News {
    #[emit]
    async fn kept(&self, number: u32, filler: &[u8]);
    #[emit(overflow = "disconnect")]
    async fn kept_too(&self, number: u32, filler: &[u8]);
    #[emit(overflow = "drop_newest")]
    async fn newest_dropped(&self, number: u32, filler: &[u8]);
    #[emit(overflow = "drop_oldest")]
    async fn oldest_dropped(&self, number: u32, filler: &[u8]);
    #[emit(latest)]
    async fn latest(&self, number: u32, filler: &[u8]);
    /// Replies after the member has handled all earlier emits.
    async fn fence(&self, number: u32);
}

/// The numbers that a member has received, in order.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<u32>>>);

impl Received {
    fn note(&self, number: u32) {
        self.0.lock().unwrap().push(number);
    }

    fn numbers(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl News for Received {
    async fn kept(&self, number: u32, _filler: &[u8]) {
        self.note(number);
    }
    async fn kept_too(&self, number: u32, _filler: &[u8]) {
        self.note(number);
    }
    async fn newest_dropped(&self, number: u32, _filler: &[u8]) {
        self.note(number);
    }
    async fn oldest_dropped(&self, number: u32, _filler: &[u8]) {
        self.note(number);
    }
    async fn latest(&self, number: u32, _filler: &[u8]) {
        self.note(number);
    }
    async fn fence(&self, number: u32) {
        self.note(number);
    }
}

const FILLER: [u8; 1000] = [7; 1000];
/// More emits than the transport, the window and the queue of a member can store, if the member
/// reads nothing.
const MANY: u32 = 3000;
/// The number of emits that fit into the queue of a member that reads.
const AT_ONCE: u32 = 16;

fn limits() -> Limits {
    Limits::new().outgoing_queue(64 << 10)
}

/// A client that reads nothing until the test thaws it, since its only thread is blocked.
struct Frozen {
    socket: Socket,
    received: Received,
    thaw: mpsc::Sender<()>,
}

impl Frozen {
    async fn new(net: Transport, server: &Server) -> Self {
        let others = server.sockets();
        let (thaw, thawed) = mpsc::channel::<()>();
        let (freezes, frozen) = mpsc::channel();
        let thawed = Mutex::new(thawed);
        let received = Received::default();
        let news = NewsServer::new(received.clone());
        let builder = Client::builder().serve(news).first_session(|peer| async move {
            peer.listen("freeze", move |(): ()| {
                freezes.send(()).unwrap();
                // The thread is blocked until the test thaws the client or fails.
                let _ = thawed.lock().unwrap().recv();
                async {}
            });
        });
        let (server_too, outside) = (server.clone(), Handle::current());
        thread::spawn(move || live(net, &server_too, builder, outside));
        eventually("it connects", || server.sockets().len() > others.len()).await;
        let socket = server.sockets().into_iter().find(|socket| !others.contains(socket)).unwrap();
        socket.emit("freeze", &()).await.unwrap();
        eventually("it freezes", || frozen.try_recv().is_ok()).await;
        Self { socket, received, thaw }
    }

    /// Lets the member read, and checks the counts. Returns the numbers that the member has
    /// received.
    async fn thaw(&self, sent: u32) -> Vec<u32> {
        self.thaw.send(()).unwrap();
        NewsClient::new(&self.socket).fence(u32::MAX).await.unwrap();
        let mut numbers = self.received.numbers();
        assert_eq!(numbers.pop(), Some(u32::MAX));
        assert!(numbers.is_sorted_by(|one, next| one < next), "emits are received in order: {numbers:?}");
        let dropped = self.socket.stats().dropped_emits;
        assert_eq!(numbers.len() as u64 + dropped, u64::from(sent), "each emit was received or dropped");
        assert!(dropped > u64::from(sent) / 4, "only {dropped} were dropped");
        numbers
    }
}

/// Runs a client on the current thread, which runs nothing else. The server's end of the connection
/// runs on the runtime `outside`.
fn live(net: Transport, server: &Server, builder: ClientBuilder, outside: Handle) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // During the first poll, `outside` is the current runtime. `yield_now` ends this poll before
    // the client sends its hello. The client therefore spawns its tasks in a later poll, on its own
    // runtime.
    let builder = builder.auth_with(tokio::task::yield_now);
    runtime.block_on(async {
        let mut connecting = pin!(net.connect(server, builder));
        let mut first = Some(outside);
        let client = poll_fn(|cx| {
            let outside = first.take();
            let _accepted_there = outside.as_ref().map(Handle::enter);
            connecting.as_mut().poll(cx)
        });
        let client = client.await;
        client.disconnected().await;
    });
}

/// Starts a server and connects four members to a room. Three members read, but the fourth does
/// not.
async fn room(net: Transport) -> (Server, Vec<(Client, Received)>, Frozen) {
    let server =
        Server::builder().limits(limits()).connected(|socket: Socket| async move { socket.join("room").unwrap() });
    let server = net.serve(server).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let received = Received::default();
        let client = Client::builder().serve(NewsServer::new(received.clone()));
        members.push((net.connect(&server, client).await, received));
    }
    let frozen = Frozen::new(net, &server).await;
    (server, members, frozen)
}

/// Emits numbers to the room. Between emits, waits for the members that read often enough that
/// their queues never become full.
async fn emit_many<F>(members: &[(Client, Received)], numbers: std::ops::Range<u32>, emit: impl Fn(u32) -> F)
where
    F: Future<Output = Result<(), sockets::CallError>>,
{
    for number in numbers {
        emit(number).await.unwrap();
        if number % AT_ONCE == 0 {
            let is_received = |(_, received): &(_, Received)| received.0.lock().unwrap().last() == Some(&number);
            eventually("reading members receive it", || members.iter().all(is_received)).await;
        }
    }
}

async fn assert_all_received(server: &Server, members: &[(Client, Received)], frozen: &Frozen) {
    for (_, received) in members {
        eventually("all messages are received", || received.0.lock().unwrap().len() == MANY as usize).await;
        assert!(received.numbers().into_iter().eq(0..MANY), "reading members have received all");
    }
    for socket in server.sockets() {
        assert!(socket == frozen.socket || socket.stats().dropped_emits == 0, "nothing is dropped for reading members");
    }
}

every_transport! {
    async fn full_queue_without_policy_disconnects_member(net: Transport) {
        let (server, members, frozen) = room(net).await;
        let news = NewsClient::new(&server.room("room"));
        emit_many(&members, 0..MANY, |number| {
            let news = news.clone();
            async move {
                let is_even = number % 2 == 0;
                if is_even { news.kept(number, &FILLER).await } else { news.kept_too(number, &FILLER).await }
            }
        }).await;
        assert_all_received(&server, &members, &frozen).await;
        assert_eq!(frozen.socket.disconnected().await, DisconnectReason::TooSlow);
        assert_eq!(frozen.socket.stats().dropped_emits, 0);
    }
}

tcp_and_memory! {
    async fn full_queue_with_drop_newest_drops_newest_emits(net: Transport) {
        let (server, members, frozen) = room(net).await;
        let news = NewsClient::new(&server.room("room"));
        emit_many(&members, 0..MANY, |number| news.newest_dropped(number, &FILLER)).await;
        assert_all_received(&server, &members, &frozen).await;
        let numbers = frozen.thaw(MANY).await;
        assert_eq!(numbers.first(), Some(&0));
        assert!(numbers.last().is_some_and(|last| *last < MANY - 1), "the newest is not among them");
        emit_many(&members, MANY..MANY + 1, |number| news.newest_dropped(number, &FILLER)).await;
        eventually("the member receives the next emit", || frozen.received.numbers().last() == Some(&MANY)).await;
    }

    async fn frozen_member_receives_the_latest_emit(net: Transport) {
        let (server, members, frozen) = room(net).await;
        let news = NewsClient::new(&server.room("room"));
        emit_many(&members, 0..MANY, |number| news.latest(number, &FILLER)).await;
        for (_, received) in &members {
            eventually("the latest is received", || received.numbers().last() == Some(&(MANY - 1))).await;
        }
        frozen.thaw.send(()).unwrap();
        NewsClient::new(&frozen.socket).fence(MANY).await.unwrap();
        let numbers = frozen.received.numbers();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert_eq!(numbers[numbers.len() - 2..], [MANY - 1, MANY], "the latest arrives");
        assert!(numbers.len() < MANY as usize / 2, "{} emits", numbers.len());
        assert_eq!(frozen.socket.stats().dropped_emits, 0);
    }

    async fn request_to_lagging_member_keeps_its_order(net: Transport) {
        let (server, members, frozen) = room(net).await;
        let news = NewsClient::new(&server.room("room"));
        let alone = NewsClient::new(&frozen.socket);
        emit_many(&members, 0..MANY, |number| news.oldest_dropped(number, &FILLER)).await;
        // The request waits in the queue after the emits above, and before the later emits.
        let mut between = pin!(alone.fence(MANY));
        never("it is answered", between.as_mut()).await;
        emit_many(&members, MANY + 1..MANY + 9, |number| news.oldest_dropped(number, &FILLER)).await;
        eventually("reading members receive it", || members[0].1.numbers().last() == Some(&(MANY + 8))).await;
        let numbers = frozen.thaw(MANY + 9).await;
        assert!(numbers.contains(&(MANY - 1)) && numbers.contains(&MANY) && numbers.contains(&(MANY + 8)));
        between.await.unwrap();
    }

    async fn full_queue_with_drop_oldest_drops_oldest_emits(net: Transport) {
        let (server, members, frozen) = room(net).await;
        let news = NewsClient::new(&server.room("room"));
        emit_many(&members, 0..MANY, |number| news.oldest_dropped(number, &FILLER)).await;
        assert_all_received(&server, &members, &frozen).await;
        let numbers = frozen.thaw(MANY).await;
        // The policy may drop up to half of the queue.
        let newest = numbers.iter().rev().zip((0..MANY).rev()).take_while(|(own, sent)| *own == sent).count();
        assert!((24..=64).contains(&newest), "{newest} of the newest ones: {numbers:?}");
    }
}
