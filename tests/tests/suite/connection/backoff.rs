//! The delays between attempts to reconnect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use sockets::{Client, ClientState, Reconnect, Refusal, Server};
use sockets_tests::{Relay, eventually, session_of, within};
use tokio::time::{Instant, sleep};

/// Starts a server that counts logins, and a relay to the server.
async fn counting(logins: &Arc<AtomicU32>) -> (Server, Relay) {
    let logins = Arc::clone(logins);
    let server = Server::builder().authenticate(move |(): ()| {
        logins.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Refusal>(()) }
    });
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    (server, relay)
}

/// Returns a future that cuts each connection of a client. The relay cuts a connection `lifetime`
/// after it was established.
fn cutting(relay: &Arc<Relay>, client: &Client, lifetime: Duration) -> impl Future<Output = ()> + use<> {
    let (relay, client) = (Arc::clone(relay), client.clone());
    async move {
        let mut states = client.states();
        loop {
            sleep(lifetime).await;
            relay.cut();
            loop {
                match states.next().await {
                    Some(ClientState::Connected { .. }) => break,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_grow_when_connections_are_cut_at_once() {
    let logins = Arc::default();
    let (server, relay) = counting(&logins).await;
    let relay = Arc::new(relay);
    let client = within(Client::builder().connect(&relay.url())).await.unwrap();
    for lifetime in [5, 50] {
        let before = logins.load(Ordering::Relaxed);
        let cutting = cutting(&relay, &client, Duration::from_millis(lifetime));
        let _ = tokio::time::timeout(Duration::from_secs(3), cutting).await;
        let made = logins.load(Ordering::Relaxed) - before;
        assert!(made < 20, "{made} logins in three seconds");
    }
    assert_eq!(server.sockets().len(), 1, "the session is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_cut_at_once_counts_as_an_attempt() {
    let (_server, relay) = counting(&Arc::default()).await;
    let relay = Arc::new(relay);
    let soon = Reconnect::default().first_within(Duration::from_millis(10)).attempts(3);
    let client = within(Client::builder().reconnect(soon).connect(&relay.url())).await.unwrap();
    tokio::select! {
        () = cutting(&relay, &client, Duration::from_millis(5)) => unreachable!(),
        reason = within(client.disconnected()) => drop(reason),
    }
    assert_eq!(relay.made(), 1 + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lasting_connection_resets_the_attempts() {
    let (server, relay) = counting(&Arc::default()).await;
    let client = within(Client::builder().connect(&relay.url())).await.unwrap();
    let mut states = client.states();
    for _ in 0..2 {
        sleep(Duration::from_millis(1100)).await;
        let since = Instant::now();
        relay.cut();
        match within(states.next()).await {
            Some(ClientState::Reconnecting { attempt, .. }) => assert_eq!(attempt, 1),
            // The stream has skipped the states before this one.
            Some(ClientState::Connected { .. }) => {}
            other => panic!("{other:?}"),
        }
        eventually("the client is connected again", || session_of(&client) == Some(1)).await;
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    }
    assert_eq!(server.sockets().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_backoff_makes_one_immediate_attempt() {
    for policy in [
        Reconnect::default().first_within(Duration::ZERO),
        Reconnect::default().first_within(Duration::ZERO).at_most_every(Duration::ZERO),
    ] {
        let (_server, relay) = counting(&Arc::default()).await;
        let client = within(Client::builder().reconnect(policy).connect(&relay.url())).await.unwrap();
        let (counting, attempts) = (client.states(), Arc::new(AtomicU32::new(0)));
        let highest = Arc::clone(&attempts);
        let counted = tokio::spawn(async move {
            let mut states = counting;
            while let Some(state) = states.next().await {
                if let ClientState::Reconnecting { attempt, .. } = state {
                    highest.store(attempt, Ordering::Relaxed);
                }
            }
        });
        relay.shut();
        sleep(Duration::from_secs(2)).await;
        let made = attempts.load(Ordering::Relaxed);
        assert!((5..100).contains(&made), "{made} attempts in two seconds");
        drop(client);
        within(counted).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_succeed_over_connections_that_are_cut() {
    let (server, relay) = counting(&Arc::default()).await;
    let relay = Arc::new(relay);
    let soon = Reconnect::default().first_within(Duration::from_millis(5)).at_most_every(Duration::from_millis(100));
    let client = within(Client::builder().reconnect(soon).connect(&relay.url())).await.unwrap();
    server.sockets()[0].listen("next", |number: u32| async move { number + 1 });
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let caller = client.clone();
    let calling = tokio::spawn(async move {
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            number = caller.request::<u32>("next", &number).await.expect("a call has its reply");
        }
        number
    });
    let cutting = cutting(&relay, &client, Duration::from_millis(50));
    let _ = tokio::time::timeout(Duration::from_secs(2), cutting).await;
    stop.store(true, Ordering::Relaxed);
    assert!(within(calling).await.unwrap() > 0);
    assert_eq!(session_of(&client), Some(1), "no session was lost");
    assert!(relay.made() > 10, "{}", relay.made());
}
