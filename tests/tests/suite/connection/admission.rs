//! The limits of connections and of concurrent handshakes. The module `limits` tests the limits of
//! rooms and names.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::join_all;
use sockets::{Client, ConnectError, Limits, Refusal, Server, ServerBuilder};
use sockets_tests::{
    Login, Player, admitting, eventually, players,
    raw::{self, Raw, SETTINGS, client_hello, string},
    tcp_and_memory, within,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::{Notify, Semaphore},
    time::{Instant, sleep, timeout},
};

fn is_full(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused(refusal) if refusal.message() == "the server is full")
}

tcp_and_memory! {
    async fn full_server_refuses_until_a_client_leaves(net: Transport) {
        let server = net.serve(players().limits(Limits::new().connections(2))).await;
        let first = net.join(&server, "ada", Client::builder()).await;
        let _second = net.join(&server, "eve", Client::builder()).await;
        let bob = || Client::builder().auth(Login::new("bob"));
        for _ in 0..3 {
            let refused = net.try_connect(&server, bob()).await.unwrap_err();
            assert!(is_full(&refused), "{refused}");
        }
        drop(first);
        eventually("the first client has left", || server.sockets().len() == 1).await;
        net.connect(&server, bob()).await;
    }

    async fn refused_or_unready_client_keeps_no_permit(net: Transport) {
        let limits = Limits::new().connections(1).handshakes(1).connected(Duration::from_millis(50));
        let server = players().limits(limits).connected(|socket| async move {
            if *socket.identity() == Player::new("slow") {
                pending::<()>().await;
            }
        });
        let server = net.serve(server).await;
        for _ in 0..5 {
            let refused = net.try_connect(&server, Client::builder().auth(Login::new(""))).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
            let refused = net.try_connect(&server, Client::builder().auth(7_u64)).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
            let refused = net.try_connect(&server, Client::builder().auth(Login::new("slow"))).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
            eventually("the socket is removed", || server.sockets().is_empty()).await;
        }
        net.join(&server, "ada", Client::builder()).await;
    }

    /// Fault 28 of RELIABILITY.md.
    async fn concurrent_clients_connect_up_to_the_limit(net: Transport) {
        let limits = Limits::new().connections(30).handshakes(3);
        let server = net.serve(players().limits(limits)).await;
        let crowd = (0..100).map(|number| {
            let client = Client::builder().auth(Login::new(&number.to_string()));
            net.try_connect(&server, client)
        });
        let (inside, outside): (Vec<_>, Vec<_>) = join_all(crowd).await.into_iter().partition(Result::is_ok);
        assert_eq!((inside.len(), server.sockets().len()), (30, 30));
        assert!(outside.iter().all(|refused| refused.as_ref().is_err_and(is_full)), "{outside:?}");
    }
}

/// Returns a server. The login of the player "slow" waits for a permit.
fn server_with_slow_login(permits: &Arc<Semaphore>, limits: Limits) -> ServerBuilder<Player> {
    let permits = Arc::clone(permits);
    let authenticate = move |login: Login| {
        let permits = Arc::clone(&permits);
        async move {
            if login.name == "slow" {
                drop(permits.acquire().await);
            }
            admitting(login).await
        }
    };
    Server::builder().authenticate(authenticate).limits(limits)
}

#[tokio::test]
async fn concurrent_handshakes_are_limited() {
    let (permits, limits) = (Arc::new(Semaphore::new(0)), Limits::new().handshakes(3));
    let server = server_with_slow_login(&permits, limits).bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let slow = (0..3).map(|_| tokio::spawn(Client::builder().auth(Login::new("slow")).connect_to_url(&url)));
    let slow: Vec<_> = slow.collect();
    // The server is authenticating these clients. It therefore does not disconnect any of them to
    // free a permit for a waiting client.
    let mut quick = tokio::spawn(Client::builder().auth(Login::new("ada")).connect_to_url(&url));
    assert!(timeout(Duration::from_millis(1500), &mut quick).await.is_err(), "there is no place for a fourth");
    permits.add_permits(1);
    let quick = quick.await.unwrap().expect("there is a place when one of them is through");
    for client in slow {
        assert!(client.await.unwrap().is_ok());
    }
    drop(quick);
}

/// A variant of `connect` that owns the URL, so that the future may be spawned.
trait ConnectTo {
    fn connect_to_url(self, url: &str) -> impl Future<Output = Result<Client, ConnectError>> + Send + 'static;
}

impl ConnectTo for sockets::ClientBuilder {
    fn connect_to_url(self, url: &str) -> impl Future<Output = Result<Client, ConnectError>> + Send + 'static {
        let url = url.to_owned();
        async move { self.connect(&url).await }
    }
}

/// Fault 15 of RELIABILITY.md, with many silent peers.
#[tokio::test]
async fn silent_peer_makes_way_for_a_waiting_client() {
    let limits = Limits::new().handshakes(2);
    let server = players().limits(limits).bind("tcp://127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(Raw::connect(server.local_addr()).await);
    }
    // Two silent peers have the permits. The other peers and the client wait in the order of their
    // arrival.
    let client = Client::builder().auth(Login::new("ada")).connect(&format!("tcp://{}", server.local_addr())).await;
    assert!(client.is_ok(), "{client:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}, half of the timeout of a silent peer",
        started.elapsed()
    );
    let text = silent[0].expect_rejected_hello().await;
    assert!(text.contains("other connections wait"), "{text}");
}

fn raw_peer<I: sockets::Identity>(server: &Server<I>) -> Raw<DuplexStream> {
    let (near, far) = duplex(4096);
    drop(server.accept(far));
    Raw { stream: near }
}

#[tokio::test(start_paused = true)]
async fn silent_peers_delay_others_by_a_second_per_batch() {
    const SILENT: u32 = 1000;
    const PLACES: u32 = 100;
    // The server disconnects silent peers in batches of `PLACES`, one batch in a second. The ten
    // batches therefore delay the client by ten seconds. Without batches, the delay would be a
    // thousand seconds, which is longer than the client's timeout of 60 s.
    let limits = Limits::new().handshakes(PLACES);
    let patient = Limits::new().authentication(Duration::from_secs(60));
    let server = players().limits(limits).build();
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(raw_peer(&server));
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    let (near, far) = duplex(4096);
    drop(server.accept(far));
    Client::builder().auth(Login::new("ada")).limits(patient).connect_over(near).await.unwrap();
    let took = started.elapsed();
    assert!(took <= Duration::from_secs((SILENT / PLACES).into()) + Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn trickling_peer_makes_way_for_a_waiting_client() {
    let server = players().limits(Limits::new().handshakes(1)).build();
    let mut raw = raw_peer(&server);
    let trickle = tokio::spawn(async move {
        for byte in raw::prefixed(&client_hello(SETTINGS, &string(&"a".repeat(100)))) {
            raw.send_bytes(&[byte]).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    tokio::task::yield_now().await;
    let (near, far) = duplex(4096);
    drop(server.accept(far));
    let connect = Client::builder().auth(Login::new("ada")).connect_over(near);
    assert!(timeout(Duration::from_millis(1100), connect).await.expect("the place is free").is_ok());
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn refused_peer_that_stays_makes_way() {
    let turned_away = Arc::new(Notify::new());
    let turning = Arc::clone(&turned_away);
    let server = Server::builder()
        .authenticate(move |login: String| {
            turning.notify_one();
            async move { if login == "mallory" { Err(Refusal::new("not you")) } else { Ok(()) } }
        })
        .limits(Limits::new().handshakes(1))
        .build();
    let mut raw = raw_peer(&server);
    raw.send(&client_hello(SETTINGS, &string("mallory"))).await;
    turned_away.notified().await;
    let (near, far) = duplex(4096);
    drop(server.accept(far));
    let connect = Client::builder().auth("ada").connect_over(near);
    assert!(timeout(Duration::from_millis(1100), connect).await.expect("the place is free").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_server_is_a_retry() {
    let limits = Limits::new().connections(1);
    let server = Server::builder().limits(limits).bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let _first = within(Client::builder().connect(&url)).await.unwrap();
    let refused = within(Client::builder().connect(&url)).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::Refused(refusal) if refusal.retry_after().is_some()), "{refused:?}");
}
