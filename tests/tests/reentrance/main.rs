//! The library holds no lock while it runs user code, so user code may always call the library.
//!
//! This test has a process of its own for two reasons. It installs a subscriber for the whole
//! process, and a failure leaves threads that hang.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

mod callbacks;

use std::{sync::mpsc, thread, time::Duration};

use futures_util::FutureExt;
use sockets::{CallError, Client, ClientBuilder, Limits, Reconnect, Server, ServerBuilder, Socket};
use sockets_tests::{Conditions, Relay, eventually};
use tokio::{
    io::duplex,
    runtime::{Builder, Runtime},
    time::timeout,
};

use self::callbacks::{Events, Id, Loud, LoudStream, calls, forget, loudly, register, register_client, stage};

const PATIENCE: Duration = Duration::from_secs(90);

#[sockets::group("World")]
trait World {
    #[emit(overflow = "drop_newest")]
    async fn log(&self, line: &[u8]);
    #[emit]
    async fn moved(&self, to: Loud);
    async fn double(&self, number: Loud) -> Loud;
}

struct Handler(#[expect(dead_code, reason = "its `Drop` calls back")] Loud);

impl World for Handler {
    async fn log(&self, _: &[u8]) {}
    async fn moved(&self, _: Loud) {}
    async fn double(&self, number: Loud) -> Loud {
        Loud(number.0 * 2)
    }
}

fn limits() -> Limits {
    Limits::new()
        .outgoing_queue(64 * 1024)
        .resume_bytes(256 * 1024)
        .stall(Duration::from_secs(30))
        .shutdown_grace(Duration::from_millis(200))
        .call_timeout(Duration::from_secs(20))
        .handshakes(1)
}

fn server() -> ServerBuilder<Id> {
    Server::builder()
        .authenticate(|login: Loud| async move { Ok(Id::new(login.0)) })
        .connected(|socket: Socket<Id>| async move {
            register(&socket);
            socket.join("room").unwrap();
            socket.serve(WorldServer::new(Handler(Loud(0))));
            socket.listen("pending", |(): ()| std::future::pending::<()>());
            socket.listen("panics", |_: Loud| async { assert!(thread::panicking(), "a handler") });
            socket.on_disconnect(|_| async {
                calls("on_disconnect");
            });
        })
        .limits(limits())
}

fn client(number: u32) -> ClientBuilder {
    let soon = Reconnect::default().first_within(Duration::from_millis(5)).at_most_every(Duration::from_millis(50));
    Client::builder()
        .auth_with(move || async move { Loud(number) })
        .serve(WorldServer::new(Handler(Loud(0))))
        .reconnect(soon)
        .limits(limits())
}

async fn talk(client: &Client) {
    let world = WorldClient::new(client);
    for number in 0..20 {
        let doubled = loudly(world.double(Loud(number))).await.unwrap();
        assert_eq!(doubled.0, 2 * number);
        loudly(world.moved(Loud(number))).await.unwrap();
        loudly(client.emit("unheard", &Loud(number))).await.unwrap();
    }
    let cancelled = loudly(client.request::<()>("pending", &())).now_or_never();
    assert!(cancelled.is_none());
    let panicked = loudly(client.request::<()>("panics", &Loud(1))).await;
    assert_eq!(panicked, Err(CallError::Panicked));
    let short = loudly(world.clone().with_timeout(Duration::from_millis(1)).double(Loud(1))).await;
    drop(short);
}

async fn ask(server: &Server<Id>) {
    let everyone = server.all();
    let some = server.users([Id::new(1), Id::new(2), Id::new(2)]).union(&server.room("room"));
    for audience in [&everyone, &some, &some.except(&server.users([Id::new(1)]))] {
        let world = WorldClient::new(audience);
        let mut replies = world.double(Loud(3));
        while let Some((_, doubled)) = loudly(replies.next()).await {
            drop(doubled);
        }
        drop(world.double(Loud(4)));
        for number in 0..10 {
            loudly(world.moved(Loud(number))).await.unwrap();
            loudly(world.log(&vec![1; 4096])).await.unwrap();
        }
    }
    assert!(server.socket(&Id::new(1)).is_some());
    assert!(server.sockets_of(&Id::new(9)).is_empty());
}

/// Runs every stage of a session's life.
async fn live() {
    let server = server().bind("tcp://127.0.0.1:0").await.unwrap();
    server.bind("ws://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let web = format!("ws://{}", server.local_addrs()[1]);
    let (near, far) = duplex(1 << 12);
    let clients = [
        loudly(client(1).connect(&relay.url())).await.unwrap(),
        loudly(client(2).connect(&web)).await.unwrap(),
        loudly(client(2).connect_local(&server)).await.unwrap(),
        {
            drop(server.accept(LoudStream(far)));
            loudly(client(4).connect_over(LoudStream(near))).await.unwrap()
        },
    ];
    for client in &clients {
        register_client(client);
    }
    for client in &clients {
        stage();
        talk(client).await;
    }
    stage();
    ask(&server).await;

    // A member reads nothing until its queue is full.
    stage();
    relay.set(Conditions { frozen: true, ..Conditions::default() });
    let world = WorldClient::new(&server.room("room"));
    let slow = server.socket(&Id::new(1)).unwrap();
    eventually("emits to the slow member are dropped", || {
        for _ in 0..50 {
            let _ = world.log(&vec![1; 16 * 1024]).now_or_never();
        }
        slow.stats().dropped_emits > 0
    })
    .await;
    let large = (Loud(1), vec![1_u8; 60_000]);
    let waiting = loudly(slow.emit("unheard", &large));
    assert!(timeout(Duration::from_millis(20), waiting).await.is_err(), "there is no room");
    relay.set(Conditions::default());
    talk(&clients[0]).await;

    // The connection of that member breaks, and the client resumes the session.
    for _ in 0..3 {
        stage();
        relay.cut();
        talk(&clients[0]).await;
    }

    // The server disconnects a client. Another client closes, and the test drops the last handle.
    stage();
    let ended = server.sockets_of(&Id::new(2));
    ended[0].disconnect("enough");
    loudly(clients[1].disconnected()).await;
    let [first, second, third, fourth] = clients;
    loudly(third.close()).await;
    drop((second, third, ended));
    eventually("the sockets are removed", || server.sockets_of(&Id::new(2)).is_empty()).await;
    stage();
    drop(fourth);
    loudly(server.shutdown()).await;
    drop((slow, first));
    forget();
}

/// Runs all stages, and fails if they have not ended in time. If a thread hangs, it continues to
/// run after the failure, because a thread cannot be stopped.
fn run(runtime: impl FnOnce() -> Runtime + Send + 'static) {
    let (ended, end) = mpsc::channel();
    let running = thread::spawn(move || {
        runtime().block_on(live());
        let _ = ended.send(());
    });
    match end.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => running.join().unwrap(),
    }
}

#[test]
fn reentrant_user_code_never_hangs() {
    tracing::subscriber::set_global_default(Events).unwrap();
    run(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    run(|| Builder::new_current_thread().enable_all().build().unwrap());
    for place in ["event", "hash", "eq", "drop", "serialize", "deserialize", "wake", "waker dropped", "read", "write"] {
        assert!(callbacks::count(place) > 0, "nothing called back from {place}");
    }
}
