//! The programs of the design, as they stand there.

use std::{collections::BTreeMap, sync::Arc};

use sockets::{CallError, Client, DisconnectReason, Refusal, Server, Socket};
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
    async fn a_shop_and_its_lobby(net: Transport) {
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
                        socket.join("lobby");
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
        let mut heard = BTreeMap::new();
        for (name, choice) in [("ada", "tea"), ("bob", "tea"), ("cleo", "coffee")] {
            let (voter, messages) = Voter::new(choice);
            let client = Client::builder().auth(Login { name: name.into() }).serve(LobbyServer::new(voter));
            clients.insert(name, net.connect(&server, client).await);
            heard.insert(name, messages);
        }
        let ada = &clients["ada"];

        let purchases = PurchasesClient::new(ada);
        assert_eq!(purchases.get_price("sword").await.unwrap(), Some(10));
        let receipt = purchases.buy("sword", 2).await.unwrap();
        assert_eq!(purchases.buy("sword", 9).await, Err(CallError::Handler(PurchaseError::SoldOut)));
        assert_eq!(RefundsClient::new(ada).refund(receipt).await, Ok(()));

        let host = server.socket(&Player::new("cleo")).unwrap();
        let lobby = LobbyClient::new(&server.room("lobby").except(&host));
        lobby.message("the vote opens").await.unwrap();
        let choices = vec![String::from("tea"), String::from("coffee")];
        let mut votes = lobby.vote(choices);
        let mut counted = BTreeMap::new();
        while let Some((socket, choice)) = votes.next().await {
            counted.insert(socket.identity().name.clone(), choice.unwrap());
        }
        assert_eq!(counted, BTreeMap::from([("ada".into(), "tea".into()), ("bob".into(), "tea".into())]));
        assert_eq!(heard.get_mut("ada").unwrap().recv().await.as_deref(), Some("the vote opens"));
        assert_eq!(heard.get_mut("bob").unwrap().recv().await.as_deref(), Some("the vote opens"));
        LobbyClient::new(&server.room("lobby")).message("the vote is over").await.unwrap();
        assert_eq!(heard.get_mut("cleo").unwrap().recv().await.as_deref(), Some("the vote is over"));

        server.shutdown().await;
        for client in clients.values() {
            assert_eq!(client.disconnected().await, DisconnectReason::ShuttingDown);
        }
        for _ in 0..3 {
            assert!(leaving.recv().await.unwrap().contains(" left: "));
        }
    }
}

tcp_and_memory! {
    async fn who_has_no_account_is_refused_in_the_words_of_the_server(net: Transport) {
        let server = net.serve(players()).await;
        let refused = net.try_connect(&server, Client::builder().auth(Login::new(""))).await.unwrap_err();
        assert!(refused.to_string().contains("a player needs a name"), "{refused}");
    }
}
