//! The context of a handler. It includes the caller, the server, and arguments of every kind.

use std::collections::BTreeMap;

use sockets::{Call, CallError, Client, Peer, Server};
use sockets_tests::*;

use super::answers::{CallsClient, Point, answers};

tcp_and_memory! {
    async fn handler_on_a_server_has_caller_and_server(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        let (ada, bob) = (CallsClient::new(&ada), CallsClient::new(&bob));
        assert_eq!(ada.who().await, Ok(Some("ada".into())));
        assert_eq!(bob.who().await, Ok(Some("bob".into())));
        assert_eq!(ada.room_mates("r").await, Ok(vec!["ada".into()]));
        assert_eq!(bob.room_mates("r").await, Ok(vec!["ada".into(), "bob".into()]));
        let message = "the server's identity is `sockets_tests::contract::Player`, not `u64`";
        assert_eq!(ada.strangers().await, Ok(Some(message.into())));
    }

    async fn handler_calls_its_caller_back(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let (voter, mut received) = Voter::new("tea");
        let client = net.join(&server, "ada", Client::builder().serve(LobbyServer::new(voter))).await;
        assert_eq!(CallsClient::new(&client).ask_back("tea".into()).await, Ok("tea".into()));
        CallsClient::new(&client).greet_back("ada").await.unwrap();
        assert_eq!(received.recv().await.as_deref(), Some("hello, ada"));
    }

    async fn handler_on_a_client_has_peer_and_no_socket(net: Transport) {
        let (voter, _received) = Voter::new("tea");
        let server = net.serve(players().serve(LobbyServer::new(voter))).await;
        let _client = net.join(&server, "ada", Client::builder().serve(answers())).await;
        let calls = CallsClient::new(&server.socket("ada").unwrap());
        assert_eq!(calls.who().await, Ok(None));
        assert_eq!(calls.strangers().await, Ok(None));
        assert_eq!(calls.ask_back("tea".into()).await, Ok("tea".into()));
    }

    async fn borrowed_owned_and_nested_arguments_arrive(net: Transport) {
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

    async fn method_name_may_occur_in_several_groups(net: Transport) {
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

    async fn concurrent_requests_receive_their_own_replies(net: Transport) {
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

/// A contract that is outside of any group.
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

/// A handler can make a stub for its caller, which is a `Peer`.
#[allow(dead_code, reason = "it is enough that it compiles")]
fn stub_of_the_caller(call: &Call) -> CallsClient<Peer> {
    CallsClient::new(call.peer())
}
