//! Rate limits. If a peer exceeds its rate, the receiver delays that peer and no other peer.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sockets::{CallError, Client, Limits, Server, Socket};
use tokio::{sync::mpsc, time::Instant};

#[sockets::group("Rated")]
trait Rated {
    async fn number(&self, number: u32) -> u32;
    #[emit]
    async fn note(&self, number: u32, bytes: Vec<u8>);
}

#[derive(Clone)]
struct Handler(mpsc::UnboundedSender<(u32, Instant)>);

impl Rated for Handler {
    async fn number(&self, number: u32) -> u32 {
        self.0.send((number, Instant::now())).unwrap();
        number
    }

    async fn note(&self, number: u32, _bytes: Vec<u8>) {
        self.0.send((number, Instant::now())).unwrap();
    }
}

struct Rig {
    server: Server,
    client: Client,
    socket: Socket,
    received_by_server: mpsc::UnboundedReceiver<(u32, Instant)>,
    received_by_client: mpsc::UnboundedReceiver<(u32, Instant)>,
}

/// Connects a client to a server. Both have limits, and both serve the same group.
async fn rig(server_limits: Limits, client_limits: Limits) -> Rig {
    let ((at_server, received_by_server), (at_client, received_by_client)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let server = Server::builder().limits(server_limits).serve(RatedServer::new(Handler(at_server))).build();
    let client = Client::builder().limits(client_limits).serve(RatedServer::new(Handler(at_client)));
    let client = client.connect_local(&server).await.unwrap();
    let socket = server.sockets().pop().unwrap();
    Rig { server, client, socket, received_by_server, received_by_client }
}

fn calls(per_second: u32) -> Limits {
    Limits::new().calls_per_second(per_second)
}

/// Expects all calls in order. The first `at_once` calls must arrive immediately, and each other
/// call `each` after the previous call.
async fn paced(
    received: &mut mpsc::UnboundedReceiver<(u32, Instant)>,
    since: Instant,
    count: u32,
    at_once: u32,
    each: Duration,
) {
    for expected in 0..count {
        let (number, at) = received.recv().await.unwrap();
        assert_eq!(number, expected);
        let due = each * (number + 1).saturating_sub(at_once);
        let after = at - since;
        assert!(after >= due && after < due + Duration::from_millis(5), "{number}: {after:?} instead of {due:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_rate_wait_in_order() {
    let mut rig = rig(calls(10), Limits::default()).await;
    let since = Instant::now();
    let stub = RatedClient::new(&rig.client);
    let answers = join_all((0..30).map(|number| stub.number(number))).await;
    assert_eq!(answers, (0..30).map(Ok).collect::<Vec<_>>());
    assert!(since.elapsed().abs_diff(Duration::from_secs(2)) < Duration::from_millis(50), "{:?}", since.elapsed());
    paced(&mut rig.received_by_server, since, 30, 10, Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn client_limits_the_rate_of_its_server() {
    let mut rig = rig(Limits::default(), calls(10)).await;
    let since = Instant::now();
    let stub = RatedClient::new(&rig.server.all());
    for number in 0..30 {
        stub.note(number, vec![]).await.unwrap();
    }
    paced(&mut rig.received_by_client, since, 30, 10, Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_beyond_the_rate_wait() {
    let limits = Limits::new().bytes_per_second(10_000);
    let mut rig = rig(limits, Limits::default()).await;
    let since = Instant::now();
    let stub = RatedClient::new(&rig.client);
    for number in 0..30 {
        // Each frame has 1,000 bytes, including its header, the number and the length.
        stub.note(number, vec![0; 1000 - 9 - 1 - 2]).await.unwrap();
    }
    // The first ten messages use up the burst of 10,000 bytes. A message may start as soon as the
    // rate permits a single byte, so the eleventh message also arrives almost immediately.
    paced(&mut rig.received_by_server, since, 30, 11, Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn held_calls_time_out_and_excess_calls_are_overloaded() {
    let limits = calls(1).calls_in_flight(4);
    let rig = rig(limits.clone(), limits).await;
    let stub = RatedClient::new(&rig.client).with_timeout(Duration::from_secs(2));
    let since = Instant::now();
    let answers = join_all((0..12).map(|number| stub.number(number))).await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    let count = |outcome: fn(&Result<u32, CallError>) -> bool| answers.iter().filter(|answer| outcome(answer)).count();
    let answered = count(Result::is_ok);
    assert!((1..=3).contains(&answered), "{answers:?}");
    // Of the twelve calls, four are in flight, and the client lets only four more calls wait.
    // Therefore it refuses the last four calls.
    assert_eq!(count(|answer| matches!(answer, Err(CallError::Overloaded))), 4, "{answers:?}");
    assert_eq!(answered + count(|answer| matches!(answer, Err(CallError::Timeout))), 8, "{answers:?}");
    assert!(rig.client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn rate_limit_delays_neither_replies_nor_other_peers() {
    let rig = rig(calls(1), Limits::default()).await;
    let (other, _heard) = mpsc::unbounded_channel();
    let other = Client::builder().serve(RatedServer::new(Handler(other))).connect_local(&rig.server).await.unwrap();
    let rated = Arc::new(RatedClient::new(&rig.client));
    let flood: Vec<_> = (0..10)
        .map(|number| {
            tokio::spawn({
                let rated = Arc::clone(&rated);
                async move { rated.number(number).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let since = Instant::now();
    assert_eq!(RatedClient::new(&rig.socket).number(1).await, Ok(1), "it answers while its own calls wait");
    assert_eq!(RatedClient::new(&other).number(2).await, Ok(2));
    assert!(since.elapsed() < Duration::from_millis(50), "{:?}", since.elapsed());
    for call in flood {
        assert!(call.await.unwrap().is_ok());
    }
}
