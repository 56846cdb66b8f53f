//! Calls to one peer: what handlers know of their caller, deadlines, cancelling, and arguments of every kind.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sockets::{Call, CallError, Client, Limits, Peer, Server};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i64,
    y: i64,
}

#[sockets::group("Calls")]
trait Calls {
    async fn who(&self, call: &Call) -> Option<String>;
    #[allow(unused_qualifications, reason = "written as in the design")]
    async fn room_mates(&self, call: &sockets::Call, room: &str) -> Vec<String>;
    async fn time_left(&self, call: &Call) -> Duration;
    async fn strangers(&self, call: &Call) -> bool;
    async fn ask_back(&self, call: &Call, question: String) -> String;
    #[emit]
    async fn greet_back(&self, call: &Call, name: &str);
    async fn hang(&self);
    #[request(timeout = "50ms")]
    async fn hang_briefly(&self);
    #[request(timeout = "2s")]
    async fn time_of_its_own(&self, call: &Call) -> Duration;
    async fn break_down(&self) -> u32;
    #[allow(clippy::too_many_arguments)]
    async fn many(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
        maybe: Option<Point>,
        list: Vec<(u8, String)>,
        map: BTreeMap<String, u64>,
        letter: char,
    ) -> (usize, Point, Option<Point>, Vec<(u8, String)>, BTreeMap<String, u64>, char);
    async fn nothing(&self);
    async fn nested(&self, fine: bool) -> Result<Result<u8, String>, Option<PurchaseError>>;
}

struct Answers {
    ended: UnboundedSender<&'static str>,
}

struct Guard<'a>(&'a UnboundedSender<&'static str>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Calls for Answers {
    async fn who(&self, call: &Call) -> Option<String> {
        Some(call.socket::<Player>()?.identity().name.clone())
    }

    async fn room_mates(&self, call: &Call, room: &str) -> Vec<String> {
        call.socket::<Player>().unwrap().join(room);
        let server: Server<Player> = call.server().unwrap();
        server.room(room).sockets().iter().map(|socket| socket.identity().name.clone()).collect()
    }

    async fn time_left(&self, call: &Call) -> Duration {
        call.deadline().saturating_duration_since(Instant::now())
    }

    async fn strangers(&self, call: &Call) -> bool {
        call.socket::<u64>().is_none() && call.server::<()>().is_none()
    }

    async fn ask_back(&self, call: &Call, question: String) -> String {
        LobbyClient::new(call.peer()).vote(vec![question]).await.unwrap()
    }

    async fn greet_back(&self, call: &Call, name: &str) {
        LobbyClient::new(call.peer()).message(&format!("hello, {name}")).await.unwrap();
    }

    async fn hang(&self) {
        let _guard = Guard(&self.ended);
        self.ended.send("started").unwrap();
        std::future::pending::<()>().await;
    }

    async fn hang_briefly(&self) {
        self.hang().await;
    }

    async fn time_of_its_own(&self, call: &Call) -> Duration {
        self.time_left(call).await
    }

    async fn break_down(&self) -> u32 {
        panic!("this is meant to happen")
    }

    async fn many(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
        maybe: Option<Point>,
        list: Vec<(u8, String)>,
        map: BTreeMap<String, u64>,
        letter: char,
    ) -> (usize, Point, Option<Point>, Vec<(u8, String)>, BTreeMap<String, u64>, char) {
        (text.len() + bytes.len(), point.clone(), maybe, list, map, letter)
    }

    async fn nothing(&self) {}

    async fn nested(&self, fine: bool) -> Result<Result<u8, String>, Option<PurchaseError>> {
        if fine { Ok(Err("inner".into())) } else { Err(Some(PurchaseError::SoldOut)) }
    }
}

fn answers() -> CallsServer<Answers> {
    CallsServer::new(Answers { ended: unbounded_channel().0 })
}

tcp_and_memory! {
    async fn a_handler_knows_its_caller_and_the_server(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        let (ada, bob) = (CallsClient::new(&ada), CallsClient::new(&bob));
        assert_eq!(ada.who().await, Ok(Some("ada".into())));
        assert_eq!(bob.who().await, Ok(Some("bob".into())));
        assert_eq!(ada.room_mates("r").await, Ok(vec!["ada".into()]));
        assert_eq!(bob.room_mates("r").await, Ok(vec!["ada".into(), "bob".into()]));
        assert_eq!(ada.strangers().await, Ok(true), "no socket has another identity");
    }

    async fn a_handler_calls_its_caller_back(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let (voter, mut heard) = Voter::new("tea");
        let client = net.join(&server, "ada", Client::builder().serve(LobbyServer::new(voter))).await;
        assert_eq!(CallsClient::new(&client).ask_back("tea".into()).await, Ok("tea".into()));
        CallsClient::new(&client).greet_back("ada").await.unwrap();
        assert_eq!(heard.recv().await.as_deref(), Some("hello, ada"));
    }

    async fn on_a_client_a_call_has_a_peer_and_no_socket(net: Transport) {
        let (voter, _heard) = Voter::new("tea");
        let server = net.serve(players().serve(LobbyServer::new(voter))).await;
        let _client = net.join(&server, "ada", Client::builder().serve(answers())).await;
        let calls = CallsClient::new(&server.socket(&Player::new("ada")).unwrap());
        assert_eq!(calls.who().await, Ok(None));
        assert_eq!(calls.strangers().await, Ok(true));
        assert_eq!(calls.ask_back("tea".into()).await, Ok("tea".into()));
    }

    async fn a_deadline_is_that_of_the_limits_the_trait_or_the_caller(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let limits = Limits { call_timeout: Duration::from_secs(7), ..Limits::default() };
        let client = net.join(&server, "ada", Client::builder().limits(limits)).await;
        let calls = CallsClient::new(&client);
        let near = |left: Result<Duration, CallError>, seconds: u64| {
            let left = left.unwrap();
            assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 1), "{left:?}");
        };
        near(calls.time_left().await, 7);
        near(calls.time_of_its_own().await, 2);
        let calls = calls.with_timeout(Duration::from_secs(4));
        near(calls.time_left().await, 4);
        near(calls.clone().time_of_its_own().await, 4);
        let default = net.join(&server, "bob", Client::builder()).await;
        near(CallsClient::new(&default).time_left().await, 30);
    }

    async fn a_timeout_ends_the_call_and_its_handler(net: Transport) {
        let (ended, mut ends) = unbounded_channel();
        let server = net.serve(Server::builder().serve(CallsServer::new(Answers { ended }))).await;
        let brief = Duration::from_millis(50);
        let limits = Limits { call_timeout: brief, ..Limits::default() };
        let impatient = net.connect(&server, Client::builder().limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        for n in 0..3 {
            let result = match n {
                0 => CallsClient::new(&impatient).hang().await,
                1 => CallsClient::new(&client).hang_briefly().await,
                _ => CallsClient::new(&client).with_timeout(brief).hang().await,
            };
            assert_eq!(result, Err(CallError::Timeout));
            assert_eq!(ends.recv().await, Some("started"));
            assert_eq!(ends.recv().await, Some("dropped"));
        }
        assert_eq!(CallsClient::new(&client).nothing().await, Ok(()), "the connection lives");
    }

    async fn a_call_that_is_dropped_is_cancelled_on_the_other_side(net: Transport) {
        let (ended, mut ends) = unbounded_channel();
        let server = net.serve(Server::builder().serve(CallsServer::new(Answers { ended }))).await;
        let client = net.connect(&server, Client::builder()).await;
        let calls = CallsClient::new(&client);
        let mut hanging = Box::pin(calls.hang());
        tokio::select! {
            _ = &mut hanging => panic!("it hangs"),
            started = ends.recv() => assert_eq!(started, Some("started")),
        }
        never("the handler is dropped while its caller waits", ends.recv()).await;
        drop(hanging);
        assert_eq!(ends.recv().await, Some("dropped"));
        assert_eq!(calls.nothing().await, Ok(()));
    }

    async fn a_panic_is_answered_and_harms_nobody(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let calls = CallsClient::new(&client);
        assert_eq!(calls.break_down().await, Err(CallError::Panicked));
        assert_eq!(calls.who().await, Ok(Some("ada".into())));
    }

    async fn arguments_may_be_borrowed_owned_and_nested(net: Transport) {
        let server = net.serve(Server::builder().serve(answers())).await;
        let client = net.connect(&server, Client::builder()).await;
        let calls = CallsClient::new(&client);
        let point = Point { x: -1, y: i64::MAX };
        let list = vec![(1, "one".into()), (255, String::new())];
        let map = BTreeMap::from([("Ü".into(), u64::MAX)]);
        let back = calls.many("text", &[1, 2, 3], &point, Some(point.clone()), list.clone(), map.clone(), '✓').await;
        assert_eq!(back, Ok((7, point.clone(), Some(point), list, map, '✓')));
        assert_eq!(calls.nested(true).await, Ok(Err("inner".into())));
        assert_eq!(calls.nested(false).await, Err(CallError::Handler(Some(PurchaseError::SoldOut))));
    }

    async fn one_handler_can_be_shared(net: Transport) {
        let shop = Arc::new(Shop::unwatched());
        let server = net.serve(Server::builder()).await;
        let _a = net.connect(&server, Client::builder().serve(PurchasesServer::from_arc(Arc::clone(&shop)))).await;
        let _b = net.connect(&server, Client::builder().serve(PurchasesServer::from_arc(shop))).await;
        for socket in server.sockets() {
            assert_eq!(PurchasesClient::new(&socket).get_price("sword").await, Ok(Some(10)));
        }
    }

    async fn groups_may_share_the_names_of_methods(net: Transport) {
        let server = net.serve(
            Server::builder()
                .serve(CatsServer::new(Cat))
                .serve(DogsServer::new(Dog))
                .serve(RootsServer::new(Root)),
        ).await;
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(CatsClient::new(&client).name().await, Ok("cat".into()));
        assert_eq!(DogsClient::new(&client).name().await, Ok("dog".into()));
        assert_eq!(RootsClient::new(&client).name().await, Ok("root".into()));
        assert_eq!(client.request::<String>("name", &()).await, Ok("root".into()), "it is outside any group");
        assert_eq!(client.group("Animals/Dogs").request::<String>("name", &()).await, Ok("dog".into()));
    }

    async fn many_calls_are_answered_each_with_its_own_answer(net: Transport) {
        let server = net.serve(Server::builder().serve(CatsServer::new(Cat))).await;
        let client = net.connect(&server, Client::builder()).await;
        let cats = CatsClient::new(&client);
        let twice = (0..500_u32).map(|n| { let cats = cats.clone(); async move { (n, cats.twice(n).await) } });
        for (n, twice) in futures_util::future::join_all(twice).await {
            assert_eq!(twice, Ok(2 * n));
        }
    }
}

#[sockets::group("Animals/Cats")]
trait Cats {
    async fn name(&self) -> String;
    async fn twice(&self, n: u32) -> u32;
}

#[sockets::group("Animals/Dogs")]
trait Dogs {
    async fn name(&self) -> String;
}

/// Outside any group.
#[sockets::group]
trait Roots {
    async fn name(&self) -> String;
}

struct Cat;
struct Dog;
struct Root;

impl Cats for Cat {
    async fn name(&self) -> String {
        "cat".into()
    }

    async fn twice(&self, n: u32) -> u32 {
        if n.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        2 * n
    }
}

impl Dogs for Dog {
    async fn name(&self) -> String {
        "dog".into()
    }
}

impl Roots for Root {
    async fn name(&self) -> String {
        "root".into()
    }
}

/// A stub for a `Peer` can be made from a call's.
#[allow(dead_code, reason = "it is enough that it compiles")]
fn stub_of_the_caller(call: &Call) -> CallsClient<Peer> {
    CallsClient::new(call.peer())
}
