//! Emits of which only the latest waits. The members are slow, or away, or read nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use sockets::{
    CallError, Client, ClientBuilder, ClientState, DisconnectReason, IntoTarget, Limits, Peer, Server, Socket,
    test_util::Link,
};
use sockets_tests::{Transport, eventually, never, reconnecting, tcp_and_memory, within};
use tokio::{sync::watch, time::sleep};

#[sockets::group("World")]
trait World {
    #[emit(latest)]
    async fn clock(&self, number: u32);
    #[emit(latest, key = "player")]
    async fn moved(&self, player: &str, number: u32);
    #[emit(latest, key = "room, player")]
    async fn entered(&self, number: u32, player: u8, room: String);
    #[emit(latest, volatile, key = "player")]
    async fn aimed(&self, player: &str, number: u32);
    #[emit]
    async fn said(&self, number: u32);
    /// Replies after the member has handled all earlier emits.
    async fn fence(&self);
}

/// A handler whose emits end while its gate is open.
#[derive(Clone)]
struct Seen {
    seen: Arc<Mutex<Vec<(String, u32)>>>,
    gate: watch::Sender<bool>,
}

impl Seen {
    fn new(is_open: bool) -> Self {
        Self { seen: Arc::default(), gate: watch::Sender::new(is_open) }
    }

    async fn note(&self, what: impl Into<String>, number: u32) {
        self.seen.lock().unwrap().push((what.into(), number));
        self.gate.subscribe().wait_for(|is_open| *is_open).await.unwrap();
    }

    /// Returns the numbers of the emits of a kind.
    fn numbers(&self, what: &str) -> Vec<u32> {
        self.seen.lock().unwrap().iter().filter(|(this, _)| this == what).map(|(_, number)| *number).collect()
    }

    fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Opens the gate and returns the received emits by kind.
    async fn open<C: IntoTarget<Target = Peer>>(&self, socket: &C) -> BTreeMap<String, Vec<u32>> {
        self.gate.send_replace(true);
        within(WorldClient::new(socket).fence()).await.unwrap();
        let mut numbers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (what, number) in self.seen.lock().unwrap().iter() {
            numbers.entry(what.clone()).or_default().push(*number);
        }
        numbers
    }
}

impl World for Seen {
    async fn clock(&self, number: u32) {
        self.note("clock", number).await;
    }
    async fn moved(&self, player: &str, number: u32) {
        self.note(player, number).await;
    }
    async fn entered(&self, number: u32, player: u8, room: String) {
        self.note(format!("{room} {player}"), number).await;
    }
    async fn aimed(&self, player: &str, number: u32) {
        self.note(format!("aim {player}"), number).await;
    }
    async fn said(&self, number: u32) {
        self.note("said", number).await;
    }
    async fn fence(&self) {}
}

/// The number of emits that a client accepts before its handlers end.
const WINDOW: u32 = 4;

fn client(seen: &Seen) -> ClientBuilder {
    let limits = Limits::default().calls_in_flight(WINDOW);
    Client::builder().limits(limits).serve(WorldServer::new(seen.clone()))
}

async fn server(net: Transport) -> Server {
    let server = Server::builder().connected(|socket: Socket| async move { socket.join("room").unwrap() });
    net.serve(server).await
}

/// Connects a client whose handlers do not end, and fills its window. Returns the client's socket.
async fn blocked(net: Transport, server: &Server, seen: &Seen) -> (Client, Socket) {
    let others = server.sockets();
    let client = net.connect(server, client(seen)).await;
    let socket = server.sockets().into_iter().find(|socket| !others.contains(socket)).unwrap();
    for number in 0..WINDOW {
        WorldClient::new(&socket).said(number).await.unwrap();
    }
    eventually("the window is full", || seen.len() == WINDOW as usize).await;
    (client, socket)
}

/// Waits until messages to audiences have left the log, and wait in the sessions of the members.
async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

tcp_and_memory! {
    async fn slow_peer_receives_only_the_latest_emit_of_each_key(net: Transport) {
        let (server, seen) = (server(net).await, Seen::new(false));
        let (_client, socket) = blocked(net, &server, &seen).await;
        let world = WorldClient::new(&socket);
        within(async {
            for number in 0..100 {
                world.moved("ada", number).await.unwrap();
                world.moved("bob", number).await.unwrap();
                world.clock(number).await.unwrap();
                for (room, player) in [("red", 1), ("red", 2), ("blue", 1)] {
                    world.entered(number, player, room.to_owned()).await.unwrap();
                }
            }
        })
        .await;
        let seen = seen.open(&socket).await;
        for what in ["ada", "bob", "clock", "red 1", "red 2", "blue 1"] {
            assert_eq!(seen[what], [99], "{what}");
        }
        assert_eq!(socket.stats().dropped_emits, 0, "replaced emits are not counted");
    }

    async fn slow_member_receives_the_latest_and_others_receive_all(net: Transport) {
        let (server, slow, quick) = (server(net).await, Seen::new(false), Seen::new(true));
        let (_slow, socket) = blocked(net, &server, &slow).await;
        let _quick = net.connect(&server, client(&quick)).await;
        let world = WorldClient::new(&server.room("room"));
        for number in 0..100 {
            world.moved("ada", number).await.unwrap();
            world.moved("bob", number).await.unwrap();
            eventually("the quick member receives it", || quick.numbers("bob").last() == Some(&number)).await;
        }
        settle().await;
        let slow = slow.open(&socket).await;
        assert_eq!((&slow["ada"][..], &slow["bob"][..]), (&[99][..], &[99][..]));
        for player in ["ada", "bob"] {
            assert!(quick.numbers(player).into_iter().eq(0..100), "{player}");
        }
    }

    async fn emits_through_all_targets_replace_each_other(net: Transport) {
        let (server, seen) = (server(net).await, Seen::new(false));
        let (_client, socket) = blocked(net, &server, &seen).await;
        for number in (0..100).step_by(4) {
            WorldClient::new(&socket).moved("ada", number).await.unwrap();
            WorldClient::new(&server.room("room")).moved("ada", number + 1).await.unwrap();
            WorldClient::new(&server.clients([&socket])).moved("ada", number + 2).await.unwrap();
            WorldClient::new(&server.all()).moved("ada", number + 3).await.unwrap();
            if number % 20 == 0 {
                settle().await;
            }
        }
        settle().await;
        assert_eq!(seen.open(&socket).await["ada"], [99]);
    }

    async fn burst_to_room_delivers_the_latest_of_each_key(net: Transport) {
        let (server, seen) = (server(net).await, Seen::new(true));
        let _client = net.connect(&server, client(&seen)).await;
        let world = WorldClient::new(&server.room("room"));
        for number in 0..1000 {
            world.moved("ada", number).await.unwrap();
            world.moved("bob", number).await.unwrap();
        }
        let is_last = |player: &str| seen.numbers(player).last() == Some(&999);
        eventually("the latest are received", || is_last("ada") && is_last("bob")).await;
        for player in ["ada", "bob"] {
            let numbers = seen.numbers(player);
            assert!(numbers.is_sorted_by(|one, next| one < next), "{player}: {numbers:?}");
        }
    }

    async fn unreplaced_emits_keep_their_order(net: Transport) {
        let (server, seen) = (server(net).await, Seen::new(true));
        let client = net.connect(&server, client(&seen)).await;
        let socket = server.sockets().remove(0);
        let (world, room) = (WorldClient::new(&socket), WorldClient::new(&server.room("room")));
        for number in (0..300).step_by(3) {
            world.said(number).await.unwrap();
            room.moved(&number.to_string(), number + 1).await.unwrap();
            world.clock(number + 2).await.unwrap();
            world.fence().await.unwrap();
        }
        let numbers: Vec<_> = seen.seen.lock().unwrap().iter().map(|(_, number)| *number).collect();
        assert!(numbers.into_iter().eq(0..300));
        drop(client);
    }

    async fn volatile_emit_without_window_is_dropped(net: Transport) {
        let (server, seen) = (server(net).await, Seen::new(false));
        let (_client, socket) = blocked(net, &server, &seen).await;
        for number in 0..10 {
            WorldClient::new(&socket).aimed("ada", number).await.unwrap();
            WorldClient::new(&server.room("room")).aimed("ada", number).await.unwrap();
        }
        eventually("all are dropped", || socket.stats().dropped_emits == 20).await;
        assert!(!seen.open(&socket).await.contains_key("aim ada"));
        WorldClient::new(&socket).aimed("ada", 10).await.unwrap();
        assert_eq!(seen.open(&socket).await["aim ada"], [10]);
    }

    async fn too_many_keys_disconnect_the_member_of_an_audience(net: Transport) {
        let limits = Limits::default().outgoing_queue(64 << 10);
        let server = net.serve(Server::builder().limits(limits)).await;
        let seen = Seen::new(false);
        let (_client, socket) = blocked(net, &server, &seen).await;
        let mut keys = 0;
        while server.sockets().len() == 1 {
            assert!(keys < 10_000, "the queue has no limit");
            WorldClient::new(&server.all()).moved(&format!("player {keys} {}", "x".repeat(100)), 0).await.unwrap();
            keys += 1;
        }
        assert!(keys > 500, "only {keys} emits");
        assert_eq!(within(socket.disconnected()).await, DisconnectReason::TooSlow);
    }

    async fn too_many_keys_wait_for_a_single_peer(net: Transport) {
        let limits = Limits::default().outgoing_queue(64 << 10);
        let server = net.serve(Server::builder().limits(limits)).await;
        let seen = Seen::new(false);
        let (_client, socket) = blocked(net, &server, &seen).await;
        let world = WorldClient::new(&socket);
        world.clock(0).await.unwrap();
        let emitted = Arc::new(Mutex::new(0));
        let emits = tokio::spawn({
            let (world, emitted) = (world.clone(), Arc::clone(&emitted));
            async move {
                for key in 0..2000 {
                    world.moved(&format!("player {key} {}", "x".repeat(100)), key).await?;
                    *emitted.lock().unwrap() += 1;
                }
                Ok::<_, CallError>(())
            }
        });
        let count = || *emitted.lock().unwrap();
        eventually("most keys are queued", || count() > 500).await;
        let mut queued = 0;
        while queued < count() {
            queued = count();
            sleep(Duration::from_millis(200)).await;
        }
        assert!(queued < 1900, "{queued} keys are queued");
        never("another key waits", std::pin::pin!(world.moved("another", 0))).await;
        never("other emits wait, too", std::pin::pin!(world.said(4))).await;
        seen.gate.send_replace(true);
        within(emits).await.unwrap().unwrap();
        let seen = seen.open(&socket).await;
        assert_eq!(seen.len(), 2002);
    }
}

async fn away(client: &Client) {
    eventually("the client has no connection", || matches!(client.state(), ClientState::Reconnecting { .. })).await;
}

/// Emits to a client that is away for three seconds, through a socket and a room.
async fn emit_while_away(server: &Server) {
    let socket = server.sockets().remove(0);
    let (one, all) = (WorldClient::new(&socket), WorldClient::new(&server.room("room")));
    for number in 0..90 {
        for player in ["ada", "bob"] {
            let world_is_one = number % 2 == 0;
            let moved =
                async { if world_is_one { one.moved(player, number).await } else { all.moved(player, number).await } };
            within(moved).await.unwrap();
        }
        within(one.clock(number)).await.unwrap();
        within(one.aimed("ada", number)).await.unwrap();
        sleep(Duration::from_millis(33)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_was_away_receives_one_emit_of_each_key() {
    let (server, seen) = (server(Transport::Tcp).await, Seen::new(true));
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting().serve(WorldServer::new(seen.clone())))).await.unwrap();
    link.cut();
    away(&client).await;
    emit_while_away(&server).await;
    link.restore();
    let is_complete = || ["ada", "bob", "clock"].iter().all(|what| seen.numbers(what).last() == Some(&89));
    eventually("the latest are received", is_complete).await;
    WorldClient::new(&server.sockets()[0]).said(1).await.unwrap();
    eventually("a later emit is received", || seen.numbers("said") == [1]).await;
    for what in ["ada", "bob", "clock"] {
        assert_eq!(seen.numbers(what), [89], "{what}");
    }
    assert_eq!(seen.numbers("aim ada"), [0; 0], "volatile emits are lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emits_written_to_a_lost_connection_are_replaced() {
    let (server, seen) = (server(Transport::Tcp).await, Seen::new(true));
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting().serve(WorldServer::new(seen.clone())))).await.unwrap();
    link.freeze();
    emit_while_away(&server).await;
    link.cut();
    away(&client).await;
    link.restore();
    let is_complete = || ["ada", "bob", "clock"].iter().all(|what| seen.numbers(what).last() == Some(&89));
    eventually("the latest are received", is_complete).await;
    for what in ["ada", "bob", "clock"] {
        assert_eq!(seen.numbers(what), [89], "{what}");
    }
    assert_eq!(seen.numbers("aim ada"), [0; 0], "volatile emits are lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_emit_of_an_away_client_reaches_the_next_server_session() {
    let seen = Seen::new(true);
    let server = Server::builder()
        .limits(Limits::default().resume_within(Duration::from_millis(50)))
        .serve(WorldServer::new(seen.clone()));
    let server = Transport::Tcp.serve(server).await;
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let world = WorldClient::new(&client);
    world.moved("ada", 0).await.unwrap();
    eventually("it is received", || seen.len() == 1).await;
    let socket = server.sockets().remove(0);
    link.cut();
    socket.disconnected().await;
    for number in 1..100 {
        within(world.moved("ada", number)).await.unwrap();
        within(world.moved("bob", number)).await.unwrap();
    }
    link.restore();
    eventually("the latest are received", || seen.numbers("bob") == [99]).await;
    assert_eq!((seen.numbers("ada"), seen.len()), (vec![0, 99], 3));
}
