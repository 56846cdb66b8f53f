//! Whole programs over each transport. They use contracts, and they call methods by name.

use std::{collections::BTreeMap, sync::Arc};

use sockets::{CallError, Client, DisconnectReason, Peer, Refusal, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::unbounded_channel;

struct Accounts {
    names: Vec<&'static str>,
}

impl Accounts {
    async fn check(&self, login: Login) -> Result<Player, Refusal> {
        tokio::task::yield_now().await;
        if self.names.contains(&login.name.as_str()) {
            Ok(Player { name: login.name })
        } else {
            Err(Refusal::new("no such account"))
        }
    }
}

every_transport! {
    async fn program_with_contracts_works(net: Transport) {
        let accounts = Arc::new(Accounts { names: vec!["ada", "bob", "cleo"] });
        let (left, mut leaving) = unbounded_channel();
        let server = net.serve(
            Server::builder()
                .authenticate(move |login: Login| {
                    let accounts = accounts.clone();
                    async move { accounts.check(login).await }
                })
                .connected(move |socket: Socket<Player>| {
                    let left = left.clone();
                    async move {
                        socket.join("lobby").unwrap();
                        socket.serve(PurchasesServer::new(Shop::unwatched()));
                        let name = socket.identity().name.clone();
                        socket.on_disconnect(|reason| async move {
                            left.send(format!("{name} left: {reason}")).unwrap();
                        });
                    }
                })
                .serve(RefundsServer::new(Desk)),
        )
        .await;

        let mut clients = BTreeMap::new();
        let mut received = BTreeMap::new();
        for (name, choice) in [("ada", "tea"), ("bob", "tea"), ("cleo", "coffee")] {
            let (voter, messages) = Voter::new(choice);
            let client = Client::builder().auth(Login { name: name.into() }).serve(LobbyServer::new(voter));
            clients.insert(name, net.connect(&server, client).await);
            received.insert(name, messages);
        }
        let ada = &clients["ada"];

        let purchases = PurchasesClient::new(ada);
        assert_eq!(purchases.get_price("sword").await.unwrap(), Some(10));
        let receipt = purchases.buy("sword", 2).await.unwrap();
        assert_eq!(purchases.buy("sword", 9).await, Err(CallError::Handler(PurchaseError::SoldOut)));
        assert_eq!(RefundsClient::new(ada).refund(receipt).await, Ok(()));

        let host = server.socket("cleo").unwrap();
        let lobby = LobbyClient::new(&server.room("lobby").except(&host));
        lobby.message("the vote opens").await.unwrap();
        let choices = vec![String::from("tea"), String::from("coffee")];
        let mut votes = lobby.vote(choices);
        let mut counted = BTreeMap::new();
        while let Some((member, choice)) = votes.next().await {
            counted.insert(member.identity().name.clone(), choice.unwrap());
        }
        assert_eq!(counted, BTreeMap::from([("ada".into(), "tea".into()), ("bob".into(), "tea".into())]));
        assert_eq!(received.get_mut("ada").unwrap().recv().await.as_deref(), Some("the vote opens"));
        assert_eq!(received.get_mut("bob").unwrap().recv().await.as_deref(), Some("the vote opens"));
        LobbyClient::new(&server.room("lobby")).message("the vote is over").await.unwrap();
        assert_eq!(received.get_mut("cleo").unwrap().recv().await.as_deref(), Some("the vote is over"));

        server.shutdown_with(for_good()).await;
        for client in clients.values() {
            assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
        }
        for _ in 0..3 {
            assert!(leaving.recv().await.unwrap().contains(" left: "));
        }
    }

    async fn program_by_name_works(net: Transport) {
        let (log, mut logged) = unbounded_channel::<String>();
        let log = Arc::new(move |line: String| log.send(line).unwrap());

        // This part of the test uses the `connected` hook, identities, the `on_disconnect` hook,
        // listeners and rooms.
        let server_log = Arc::clone(&log);
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            let log = Arc::clone(&server_log);
            async move {
                let name = socket.identity().name.clone();
                log(format!("{name} has connected"));
                let (log_text, who) = (Arc::clone(&log), name.clone());
                socket.listen("Say", move |text: String| {
                    log_text(format!("{who} said {text}"));
                    async {}
                });
                socket.listen("Add", |(a, b): (u32, u32)| async move { a + b });
                socket.group("Shop").group("Refunds").listen("Sum", |n: u32| async move { n });
                socket.join("everyone").unwrap();
                socket.on_disconnect(|_| async move { log(format!("{name} has disconnected")) });
            }
        })).await;
        let mut clients = Vec::new();
        for name in ["Ada", "Bob"] {
            let log = Arc::clone(&log);
            clients.push(net.join(&server, name, Client::builder().first_session(move |peer: Peer| async move {
                peer.listen("Hear", move |text: String| {
                    log(format!("{name} received {text}"));
                    async {}
                });
                peer.listen("Age", move |(): ()| async move { name.len() });
            })).await);
            assert_eq!(logged.recv().await.unwrap(), format!("{name} has connected"));
        }
        let ada = &clients[0];

        // The server finds a socket by its identity.
        let socket = server.socket("Ada").unwrap();
        assert_eq!(server.sockets().len(), 2);
        assert_eq!(server.sockets_of("Bob").len(), 1);

        // Clients send emits and requests by name, and within groups.
        ada.emit("Say", "Howdy").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Ada said Howdy");
        assert_eq!(ada.request::<u32>("Add", &(4_u32, 6_u32)).await, Ok(10));
        assert_eq!(ada.group("Shop").group("Refunds").request::<u32>("Sum", &7_u32).await, Ok(7));

        // The server emits to audiences.
        server.all().emit("Hear", "all").await.unwrap();
        let mut received = [logged.recv().await.unwrap(), logged.recv().await.unwrap()];
        received.sort_unstable();
        assert_eq!(received, ["Ada received all", "Bob received all"]);
        server.clients([&socket]).emit("Hear", "one").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Ada received one");
        server.users(["Bob"]).emit("Hear", "two").await.unwrap();
        assert_eq!(logged.recv().await.unwrap(), "Bob received two");

        // A socket leaves a room, and the room loses a member.
        socket.leave("everyone");
        assert_eq!(server.rooms(), ["everyone"]);
        assert_eq!(server.room("everyone").sockets(), server.sockets_of("Bob"));
        assert!(socket.rooms().is_empty());

        // The server sends broadcast requests with a callback.
        let mut ages = Vec::new();
        server
            .all()
            .request::<usize>("Age", &())
            .for_each_reply(|member, age| ages.push((member.identity().name.clone(), age)))
            .await;
        ages.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(ages, [("Ada".into(), Ok(3)), ("Bob".into(), Ok(3))]);
        let mut asked = 0;
        server.room("everyone").request::<usize>("Age", &()).for_each_reply(|_, _| asked += 1).await;
        assert_eq!(asked, 1);

        // The server disconnects a socket with a message.
        socket.disconnect("until tomorrow");
        assert_eq!(ada.disconnected().await.message(), Some("until tomorrow"));
        assert_eq!(logged.recv().await.unwrap(), "Ada has disconnected");
    }
}
