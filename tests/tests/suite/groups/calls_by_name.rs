//! Calls and handlers by name, in both directions. The peer uses names, too, or a contract.

use std::collections::BTreeMap;

use serde::Serialize;
use sockets::{Audience, CallError, Client, Group, Listener, Peer, Replies, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[sockets::group]
trait Root {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn twice(&self, n: u32) -> u32;
    async fn halve(&self, n: u32) -> Result<u32, String>;
    #[emit]
    async fn notify(&self, text: &str, n: u8);
    #[emit]
    async fn rung(&self);
}

struct Rooted(UnboundedSender<String>);

impl Root for Rooted {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }

    async fn twice(&self, n: u32) -> u32 {
        2 * n
    }

    async fn halve(&self, n: u32) -> Result<u32, String> {
        if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
    }

    async fn notify(&self, text: &str, n: u8) {
        self.0.send(format!("{text} {n}")).unwrap();
    }

    async fn rung(&self) {
        self.0.send("rung".into()).unwrap();
    }
}

/// Calls a typed handler by name.
async fn call_by_name(peer: &Peer) {
    assert_eq!(peer.request::<u32>("add", &(2_u32, 3_u32)).await, Ok(5));
    assert_eq!(peer.request::<u32>("twice", &4_u32).await, Ok(8), "one argument may stand alone");
    assert_eq!(peer.request::<u32>("twice", &(4_u32,)).await, Ok(8));
    assert_eq!(
        peer.request::<Result<u32, String>>("halve", &8_u32).await,
        Ok(Ok(4)),
        "a `Result` is part of the reply"
    );
    assert_eq!(peer.request::<Result<u32, String>>("halve", &(7_u32,)).await, Ok(Err("7 is odd".into())));
    peer.emit("notify", &("hello", 1_u8)).await.unwrap();
    peer.emit("rung", &()).await.unwrap();
}

/// Registers listeners by name for a caller that uses the contract.
fn listen_by_name(peer: &Peer, received: UnboundedSender<String>) {
    peer.listen("add", |(a, b): (u32, u32)| async move { a + b });
    peer.listen("twice", |n: u32| async move { 2 * n });
    peer.listen("halve", |(n,): (u32,)| async move {
        if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
    });
    let sender = received.clone();
    peer.listen("notify", move |(text, n): (String, u8)| {
        let sender = sender.clone();
        async move { sender.send(format!("{text} {n}")).unwrap() }
    });
    peer.listen("rung", move |(): ()| {
        received.send("rung".into()).unwrap();
        async {}
    });
}

async fn call_by_type(root: RootClient) {
    assert_eq!(root.add(2, 3).await, Ok(5));
    assert_eq!(root.twice(4).await, Ok(8));
    assert_eq!(root.halve(8).await, Ok(4));
    assert_eq!(root.halve(7).await, Err(CallError::Handler("7 is odd".into())));
    root.notify("hello", 1).await.unwrap();
    root.rung().await.unwrap();
}

tcp_and_memory! {
    async fn dynamic_client_calls_a_typed_server(net: Transport) {
        let (received, mut receives) = unbounded_channel();
        let server = net.serve(players().serve(RootServer::new(Rooted(received)))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        call_by_name(client.as_peer()).await;
        assert_eq!(receives.recv().await.as_deref(), Some("hello 1"));
        assert_eq!(receives.recv().await.as_deref(), Some("rung"));
    }

    async fn dynamic_server_calls_a_typed_client(net: Transport) {
        let (received, mut receives) = unbounded_channel();
        let server = net.serve(players()).await;
        let _client = net.join(&server, "ada", Client::builder().serve(RootServer::new(Rooted(received)))).await;
        call_by_name(server.sockets()[0].as_peer()).await;
        assert_eq!(receives.recv().await.as_deref(), Some("hello 1"));
        assert_eq!(receives.recv().await.as_deref(), Some("rung"));
    }

    async fn typed_client_calls_a_dynamic_server(net: Transport) {
        let (received, mut receives) = unbounded_channel();
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            listen_by_name(socket.as_peer(), received.clone());
            async {}
        })).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        call_by_type(RootClient::new(&client)).await;
        assert_eq!(receives.recv().await.as_deref(), Some("hello 1"));
        assert_eq!(receives.recv().await.as_deref(), Some("rung"));
    }

    async fn typed_server_calls_a_dynamic_client(net: Transport) {
        let (received, mut receives) = unbounded_channel();
        let server = net.serve(players()).await;
        let client = Client::builder().first_session(move |peer: Peer| async move { listen_by_name(&peer, received) });
        let _client = net.join(&server, "ada", client).await;
        call_by_type(RootClient::new(&server.sockets()[0])).await;
        assert_eq!(receives.recv().await.as_deref(), Some("hello 1"));
        assert_eq!(receives.recv().await.as_deref(), Some("rung"));
    }

    async fn nested_group_equals_joined_path(net: Transport) {
        let server = net.serve(
            players().serve(PurchasesServer::new(Shop::unwatched())).serve(RefundsServer::new(Desk)),
        ).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let receipt = Receipt { item: "sword".into(), count: 1 };
        for refunds in [client.group("Purchases").group("Refunds"), client.group("Purchases/Refunds")] {
            assert_eq!(refunds.path(), "Purchases/Refunds");
            assert_eq!(refunds.request::<Result<(), PurchaseError>>("refund", &receipt).await, Ok(Ok(())));
        }
        let purchases: Group = client.group("Purchases");
        assert_eq!(purchases.request::<Option<u32>>("get_price", "sword").await, Ok(Some(10)));
        let bought = purchases.request::<Result<Receipt, PurchaseError>>("buy", &("axe", 1_u32)).await;
        assert_eq!(bought, Ok(Err(PurchaseError::Unknown("axe".into()))));
        assert_eq!(client.request::<Option<u32>>("get_price", "sword").await, Err(CallError::NoSuchMethod));
    }

    async fn group_without_a_contract_works_by_name(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.sockets()[0].clone();
        socket.group("a").group("b").listen("hello", |name: String| async move { format!("hello, {name}") });
        assert_eq!(client.group("a/b").request::<String>("hello", "ada").await, Ok("hello, ada".into()));
        assert_eq!(client.group("a").request::<String>("hello", "ada").await, Err(CallError::NoSuchMethod));
        client.group("x").listen("sum", |list: Vec<i64>| async move { list.iter().sum::<i64>() });
        assert_eq!(socket.group("x").request::<i64>("sum", &(vec![1, 2, -7],)).await, Ok(-4));
        assert_eq!(socket.group("x").request::<i64>("sum", &[1_i64, 2][..].to_vec()).await, Ok(3));
    }

    async fn audience_is_called_by_name(net: Transport) {
        let server = net.serve(players()).await;
        let (received, mut receives) = unbounded_channel();
        let mut clients = Vec::new();
        for name in ["ada", "bob"] {
            let received = received.clone();
            let (voter, _) = Voter::new("tea");
            let client = Client::builder().serve(LobbyServer::new(voter)).first_session(move |peer| {
                peer.listen("news", move |text: String| {
                    received.send(format!("{name}: {text}")).unwrap();
                    async {}
                });
                peer.listen("age", move |(): ()| async move { name.len() });
                async {}
            });
            clients.push(net.join(&server, name, client).await);
        }
        server.socket("bob").unwrap().join("r").unwrap();
        server.room("r").emit("news", "to the room").await.unwrap();
        server.users(["ada"]).emit("news", &("to one",)).await.unwrap();
        let mut all = [receives.recv().await.unwrap(), receives.recv().await.unwrap()];
        all.sort_unstable();
        assert_eq!(all, ["ada: to one", "bob: to the room"]);

        let mut ages: Replies<Player, usize> = server.all().request("age", &());
        let mut counted = BTreeMap::new();
        while let Some((member, age)) = ages.next().await {
            counted.insert(member.identity().name.clone(), age);
        }
        assert_eq!(counted, BTreeMap::from([("ada".into(), Ok(3)), ("bob".into(), Ok(3))]));

        let lobby: Group<Audience<Player>> = server.all().group("Lobby");
        lobby.emit("message", &("hello",)).await.unwrap();
        let mut votes = lobby.request::<String>("vote", &(vec!["tea"],));
        assert_eq!(votes.next().await.unwrap().1, Ok("tea".into()));
        assert_eq!(votes.next().await.unwrap().1, Ok("tea".into()));
        assert!(votes.next().await.is_none());
    }

    async fn listener_may_return_any_serializable_type(net: Transport) {
        #[derive(Serialize)]
        struct Answer { item: &'static str, count: u32 }
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.sockets()[0].clone();
        let _: Listener = socket.listen("struct", |(): ()| async { Answer { item: "sword", count: 2 } });
        let _: Listener = socket.listen("unit", |_: (String, u8)| async {});
        let _: Listener = socket.listen("result", |(): ()| async { Err::<(), _>(PurchaseError::SoldOut) });
        let receipt = Receipt { item: "sword".into(), count: 2 };
        assert_eq!(client.request::<Receipt>("struct", &()).await, Ok(receipt));
        assert_eq!(client.request::<()>("unit", &("text", 1_u8)).await, Ok(()));
        let result = client.request::<Result<(), PurchaseError>>("result", &()).await;
        assert_eq!(result, Ok(Err(PurchaseError::SoldOut)));
        client.emit("struct", &()).await.unwrap();
        assert_eq!(client.request::<()>("unit", &("still", 2_u8)).await, Ok(()));
    }
}
