//! TCP connections that are slow, split, frozen for a while, or corrupt.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use sockets::{CallError, Client, Limits, Reconnect, Server};
use sockets_tests::{Conditions, Relay, eventually, within, within_time};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

/// A timeout. Each faulty network delivers all messages in less than this time.
const MINUTE: Duration = Duration::from_secs(60);

#[sockets::group("Numbers")]
trait Numbers {
    async fn double(&self, number: u32, ballast: Vec<u8>) -> (u32, Vec<u8>);
    #[emit]
    async fn count(&self, number: u32);
}

struct Counting(UnboundedSender<u32>);

impl Numbers for Counting {
    async fn double(&self, number: u32, ballast: Vec<u8>) -> (u32, Vec<u8>) {
        (2 * number, ballast)
    }

    async fn count(&self, number: u32) {
        self.0.send(number).unwrap();
    }
}

struct Rig {
    server: Server,
    relay: Relay,
    client: Client,
    at_server: UnboundedReceiver<u32>,
    at_client: UnboundedReceiver<u32>,
}

async fn rig() -> Rig {
    let ((to_server, at_server), (to_client, at_client)) = (unbounded_channel(), unbounded_channel());
    // If a connection is lost, the server ends its session immediately.
    let limits = Limits::new().resume_within(Duration::ZERO);
    let server = Server::builder().limits(limits).serve(NumbersServer::new(Counting(to_server)));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let client = Client::builder().serve(NumbersServer::new(Counting(to_client))).connect(&relay.url()).await.unwrap();
    Rig { server, relay, client, at_server, at_client }
}

/// Sends requests, emits, broadcasts and broadcast requests in both directions at the same time.
/// Each request must get its own reply. Every other message must arrive once and in order.
async fn everything_arrives(rig: &mut Rig, rounds: u32) {
    let (up, down) = (NumbersClient::new(&rig.client), NumbersClient::new(&rig.server.all()));
    let calls = join_all((0..rounds).map(async |number| {
        let ballast = vec![7; number as usize * 100];
        assert_eq!(up.double(number, ballast.clone()).await, Ok((2 * number, ballast)));
    }));
    let emits = async {
        for number in 0..rounds {
            up.count(number).await.unwrap();
        }
    };
    let broadcasts = async {
        for number in 0..rounds {
            down.count(number).await.unwrap();
            let replies: Vec<_> = down.double(number, Vec::new()).collect().await;
            assert!(matches!(&replies[..], [(_, Ok((doubled, _)))] if *doubled == 2 * number), "{replies:?}");
        }
    };
    tokio::join!(calls, emits, broadcasts);
    for number in 0..rounds {
        assert_eq!(rig.at_server.recv().await, Some(number));
        assert_eq!(rig.at_client.recv().await, Some(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytewise_connection_loses_nothing() {
    let mut rig = rig().await;
    rig.relay.set(Conditions { bytewise: true, ..Conditions::default() });
    within_time(MINUTE, everything_arrives(&mut rig, 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_connection_times_out_and_ignores_late_replies() {
    let mut rig = rig().await;
    rig.relay.set(Conditions { delay: Duration::from_millis(30), ..Conditions::default() });
    let hasty = NumbersClient::new(&rig.client).with_timeout(Duration::from_millis(20));
    assert_eq!(within(hasty.double(1, Vec::new())).await, Err(CallError::Timeout));
    within_time(MINUTE, everything_arrives(&mut rig, 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporarily_frozen_connection_loses_nothing() {
    let mut rig = rig().await;
    for _ in 0..3 {
        rig.relay.set(Conditions { frozen: true, ..Conditions::default() });
        let waiting = NumbersClient::new(&rig.client).with_timeout(Duration::from_millis(50));
        assert_eq!(within(waiting.double(1, Vec::new())).await, Err(CallError::Timeout));
        let thaw = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            rig.relay.set(Conditions::default());
        };
        let up = NumbersClient::new(&rig.client);
        let (doubled, ()) = within(async { tokio::join!(up.double(21, vec![1; 100_000]), thaw) }).await;
        assert_eq!(doubled, Ok((42, vec![1; 100_000])));
        within_time(MINUTE, everything_arrives(&mut rig, 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_connection_harms_no_other_client() {
    let mut rig = rig().await;
    let bad = Relay::to(rig.server.local_addr()).await;
    let outcomes = AtomicU32::new(0);
    for every in 5..65 {
        // During the handshake, the relay corrupts no bytes. Otherwise most connections would fail
        // before the first call.
        bad.set(Conditions::default());
        let limited = Client::builder().reconnect(Reconnect::never()).connect(&bad.url()).await.unwrap();
        bad.set(Conditions { corrupts: Some(every), ..Conditions::default() });
        let up = NumbersClient::new(&limited).with_timeout(Duration::from_millis(100));
        let since = Instant::now();
        let calls = (0..10).map(|number| up.double(number, vec![3; 40]));
        // Each call must have an outcome.
        outcomes.fetch_add(within(join_all(calls)).await.len().try_into().unwrap(), Ordering::Relaxed);
        assert!(since.elapsed() < Duration::from_secs(5));
        drop(limited);
        bad.cut();
    }
    assert_eq!(outcomes.into_inner(), 600);
    // In the end, the server has only the client with the good connection.
    let server = rig.server.clone();
    eventually("only one is left", move || server.sockets().len() == 1).await;
    while rig.at_server.try_recv().is_ok() {}
    within_time(MINUTE, everything_arrives(&mut rig, 10)).await;
}
