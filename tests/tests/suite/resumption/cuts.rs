//! The test cuts the connections of many clients repeatedly. Nevertheless no message may be lost or
//! repeated.
//!
//! `cargo test` cuts the connections for two seconds. This command cuts them for a minute:
//!
//! ```sh
//! CUT_SECONDS=60 cargo test --release -p sockets-tests --test suite cuts -- --nocapture
//! ```

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sockets::{Client, Server};
use sockets_tests::{FirstSession, Relay, eventually, reconnecting, session_of};
use tokio::time::{sleep, timeout};

const CLIENTS: usize = 50;
const EVERY: Duration = Duration::from_millis(50);

/// A check that the numbers 0, 1, 2 and so on arrive in order.
#[derive(Default)]
struct InOrder(AtomicU64);

impl InOrder {
    fn take(&self, number: u64) {
        let expected = self.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(number, expected, "a message is lost, repeated or out of order");
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Checks on the messages that a client has sent and received.
#[derive(Default)]
struct Account {
    emits: InOrder,
    requests: InOrder,
    ticks: InOrder,
    questions: InOrder,
}

/// Sends emits and requests from a client until `stop` is set. Returns the number of emits and the
/// number of requests.
async fn talk(client: Client, stop: Arc<AtomicBool>) -> (u64, u64) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        client.emit("emit", &number).await.expect("an emit is kept until it can be sent");
        let answer = client.request::<u64>("request", &number).await;
        assert_eq!(answer, Ok(number + 1), "a request has its answer");
        number += 1;
    }
    (number, number)
}

/// Sends broadcasts and broadcast requests to the room until `stop` is set. Returns the number of
/// broadcasts and the number of broadcast requests.
async fn address(server: Server<usize>, stop: Arc<AtomicBool>) -> (u64, u64) {
    let room = server.room("room");
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        room.emit("tick", &number).await.expect("an emit is kept until it can be sent");
        let mut replies = room.request::<u64>("ask", &number);
        let mut answered = 0;
        while let Some((_, reply)) = replies.next().await {
            assert_eq!(reply, Ok(number + 2), "each member answers");
            answered += 1;
        }
        assert_eq!(answered, CLIENTS, "all members are there");
        number += 1;
    }
    (number, number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_and_repeat_no_message() {
    let seconds = env::var("CUT_SECONDS").map_or(2, |seconds| seconds.parse().expect("a number"));
    let accounts: Arc<Vec<Account>> = Arc::new((0..CLIENTS).map(|_| Account::default()).collect());
    let kept = Arc::clone(&accounts);
    let server = Server::builder()
        .authenticate(|login: usize| async move { Ok::<_, sockets::Refusal>(login) })
        .connected(move |socket| {
            let accounts = Arc::clone(&kept);
            async move {
                let login = *socket.identity();
                let emitted = Arc::clone(&accounts);
                socket.listen("emit", move |number: u64| {
                    emitted[login].emits.take(number);
                    async {}
                });
                socket.listen("request", move |number: u64| {
                    accounts[login].requests.take(number);
                    async move { number + 1 }
                });
                socket.join("room").unwrap();
            }
        })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (ticks, questions) = (Arc::clone(&accounts), Arc::clone(&accounts));
        let client = reconnecting().auth(number).first_session(move |peer| async move {
            peer.listen("tick", move |tick: u64| {
                ticks[number].ticks.take(tick);
                async {}
            });
            peer.listen("ask", move |ask: u64| {
                questions[number].questions.take(ask);
                async move { ask + 2 }
            });
        });
        clients.push(client.connect(&relay.url()).await.unwrap());
    }

    let stop = Arc::new(AtomicBool::new(false));
    let talking: Vec<_> = clients.iter().map(|client| tokio::spawn(talk(client.clone(), Arc::clone(&stop)))).collect();
    let addressing = tokio::spawn(address(server.clone(), Arc::clone(&stop)));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut cuts = 0;
    while Instant::now() < until {
        sleep(EVERY).await;
        relay.cut();
        cuts += 1;
    }
    stop.store(true, Ordering::Relaxed);

    let (ticks, questions) = timeout(Duration::from_secs(20), addressing).await.expect("the task ends").unwrap();
    let mut sent = 0;
    for (talking, account) in talking.into_iter().zip(&*accounts) {
        let (emits, requests) = timeout(Duration::from_secs(20), talking).await.expect("the task ends").unwrap();
        assert_eq!((account.emits.count(), account.requests.count()), (emits, requests));
        eventually("all ticks are received", || account.ticks.count() == ticks).await;
        assert_eq!(account.questions.count(), questions);
        sent += emits + requests;
    }
    let made = relay.made();
    eprintln!(
        "{cuts} cuts, {made} connections, {sent} emits and requests, {ticks} broadcasts and questions to {CLIENTS}"
    );
    assert!(made > CLIENTS * 2, "the clients have reconnected");
    assert_eq!(server.sockets().len(), CLIENTS);
    // A client that received everything before the last cut may still be reconnecting.
    eventually("all sessions are resumed", || clients.iter().all(|client| session_of(client) == Some(1))).await;
}
