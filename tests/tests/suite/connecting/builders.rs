//! How servers and clients are built, and how clients log in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sockets::{BindError, Client, ConnectError, ConnectInfo, Limits, Peer, Refusal, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::unbounded_channel;

every_transport! {
    async fn authentication_may_take_the_handshake_too(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|login: Login, handshake: ConnectInfo| async move {
            Ok::<_, Refusal>((login.name, handshake.peer_addr, handshake.transport))
        })).await;
        let _client = net.connect(&server, Client::builder().auth(Login::new("ada"))).await;
        let (name, address, transport) = (*server.sockets()[0].identity()).clone();
        assert_eq!(name, "ada");
        assert_eq!(address.is_some_and(|address| address.ip().is_loopback()), net.has_address());
        assert!(!transport.is_empty());
    }
}

tcp_and_memory! {
    async fn without_authenticate_the_identity_is_the_unit(net: Transport) {
        let server: Server = net.serve(Server::builder().serve(PurchasesServer::new(Shop::unwatched()))).await;
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
        let socket: Socket = server.socket(&()).unwrap();
        assert_eq!(*socket.identity(), ());
        assert_eq!(server.sockets_of(&()), [socket]);
    }

    async fn authentication_may_take_the_login_alone(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|name: String| async move {
            if name.is_empty() { Err(Refusal::new("nameless")) } else { Ok(name) }
        })).await;
        let _client = net.connect(&server, Client::builder().auth("ada")).await;
        assert_eq!(*server.sockets()[0].identity(), "ada");
    }

    async fn authentication_may_be_a_function(net: Transport) {
        async fn check(login: Login, _: ConnectInfo) -> Result<Player, Refusal> {
            admitting(login).await
        }
        let server = net.serve(Server::builder().authenticate(check)).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        assert!(server.socket(&Player::new("ada")).is_some());
    }

    async fn a_login_can_be_made_anew_for_each_connection(net: Transport) {
        let server = net.serve(players()).await;
        let made = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&made);
        let client = Client::builder().auth_with(move || {
            let count = Arc::clone(&count);
            async move {
                tokio::task::yield_now().await;
                Login::new(&format!("ticket {}", count.fetch_add(1, Ordering::SeqCst)))
            }
        });
        let _client = net.connect(&server, client).await;
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert!(server.socket(&Player::new("ticket 0")).is_some());
    }

    async fn a_login_of_another_type_is_a_failed_handshake(net: Transport) {
        let server = net.serve(players()).await;
        let failed = net.try_connect(&server, Client::builder()).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
        assert!(server.sockets().is_empty());
    }

    async fn a_refused_client_reads_the_words_and_is_no_socket(net: Transport) {
        let (met, mut meeting) = unbounded_channel();
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            met.send(socket).unwrap();
            async {}
        })).await;
        match net.try_connect(&server, Client::builder().auth(Login::new(""))).await {
            Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.message(), "a player needs a name"),
            other => panic!("{other:?}"),
        }
        assert!(server.sockets().is_empty());
        assert!(meeting.try_recv().is_err());
    }

    async fn connect_returns_when_connected_has_finished(net: Transport) {
        let server = net.serve(players().connected(|socket: Socket<Player>| async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            socket.join("late");
        })).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(server.room("late").sockets().len(), 1);
    }

    async fn connected_may_ask_the_client_that_is_still_connecting(net: Transport) {
        let (votes, mut voted) = unbounded_channel();
        let server = net.serve(players().connected(move |socket: Socket<Player>| {
            let votes = votes.clone();
            async move {
                let vote = LobbyClient::new(&socket).vote(vec!["tea".into()]).await;
                votes.send(vote).unwrap();
            }
        })).await;
        let (voter, _heard) = Voter::new("tea");
        let _client = net.join(&server, "ada", Client::builder().serve(LobbyServer::new(voter))).await;
        assert_eq!(voted.try_recv().unwrap(), Ok("tea".into()));
    }

    async fn the_client_sets_its_listeners_before_the_first_message(net: Transport) {
        let server = net.serve(players().connected(|socket: Socket<Player>| async move {
            socket.emit("welcome", &("first",)).await.unwrap();
        })).await;
        let (heard, mut hears) = unbounded_channel();
        let client = Client::builder().connected(move |peer: Peer| {
            peer.listen("welcome", move |(text,): (String,)| {
                heard.send(text).unwrap();
                async {}
            });
            async {}
        });
        let _client = net.join(&server, "ada", client).await;
        assert_eq!(hears.recv().await.as_deref(), Some("first"));
    }

    async fn connected_has_a_limit_of_time(net: Transport) {
        let limits = Limits { connected: Duration::from_millis(50), ..Limits::default() };
        let hanging = players().limits(limits).connected(|_| std::future::pending::<()>());
        let server = net.serve(hanging).await;
        let failed = net.try_connect(&server, Client::builder().auth(Login::new("ada"))).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Refused(refusal) if refusal.retry_after().is_some()));
        net.deserted(&server).await;
    }

    async fn authentication_has_a_limit_of_time(net: Transport) {
        let limits = Limits { authentication: Duration::from_millis(50), ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits).authenticate(|(): ()| async {
            std::future::pending::<Result<(), Refusal>>().await
        })).await;
        let failed = net.try_connect(&server, Client::builder()).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Refused(refusal) if refusal.retry_after().is_some()));
    }

    async fn both_sides_may_serve_and_call_one_group(net: Transport) {
        let server = net.serve(Server::builder().serve(PurchasesServer::new(Shop::unwatched()))).await;
        let client = Client::builder().serve(PurchasesServer::new(Shop::unwatched()));
        let client = net.connect(&server, client).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
        let back = PurchasesClient::new(&server.sockets()[0]);
        assert_eq!(back.get_price("sword").await, Ok(Some(10)));
        assert_eq!(back.get_price("shield").await, Ok(None));
    }

    async fn identities_are_looked_up_by_what_they_are(net: Transport) {
        #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        enum Id { Guest(u64), Member { name: String, admin: bool } }
        let server = net.serve(Server::builder().authenticate(|id: Id| async { Ok(id) })).await;
        let ada = Id::Member { name: "ada".into(), admin: true };
        let _clients = [
            net.connect(&server, Client::builder().auth(Id::Guest(7))).await,
            net.connect(&server, Client::builder().auth(ada.clone())).await,
            net.connect(&server, Client::builder().auth(ada.clone())).await,
        ];
        assert_eq!(server.sockets_of(&ada).len(), 2);
        assert_eq!(server.socket(&ada), server.sockets_of(&ada).pop(), "it is the newest");
        assert_eq!(server.socket(&ada), server.sockets().pop());
        assert_eq!(server.sockets_of(&Id::Guest(7)).len(), 1);
        assert!(server.socket(&Id::Guest(8)).is_none());
    }
}

#[tokio::test]
async fn a_server_may_have_several_listeners() {
    let server = Server::builder().build();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let first = server.local_addr();
    server.bind("tcp://localhost:0").await.unwrap();
    assert_eq!(server.local_addr(), first, "it is the address of the first");
    let _over_tcp = Client::builder().connect(&format!("tcp://{first}")).await.unwrap();
    let _within = Client::builder().connect_local(&server).await.unwrap();
    let (near, far) = tokio::io::duplex(1024);
    let (accepted, connected) = tokio::join!(server.accept(far), Client::builder().connect_over(near));
    assert!(accepted.is_ok() && connected.is_ok());
    assert_eq!(server.sockets().len(), 3);
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_an_error_of_the_address() {
    for url in ["", "127.0.0.1:80", "http://127.0.0.1:80", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:http"] {
        let failed = Client::builder().connect(url).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Address(_)), "{url}: {failed:?}");
        let failed = Server::builder().bind(url).await.unwrap_err();
        assert!(matches!(failed, BindError::Address(_)), "{url}: {failed:?}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failed = Client::builder().connect(&format!("tcp://{address}")).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Unreachable(_)), "{failed:?}");
}

#[tokio::test]
async fn an_address_in_use_cannot_be_bound() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let failed = Server::builder().bind(&format!("tcp://{}", server.local_addr())).await.unwrap_err();
    assert!(matches!(failed, BindError::Listen { .. }), "{failed:?}");
}

#[tokio::test]
async fn one_path_served_twice_is_an_error_where_it_starts() {
    let twice =
        Server::builder().serve(PurchasesServer::new(Shop::unwatched())).serve(PurchasesServer::new(Shop::unwatched()));
    let failed = twice.bind("tcp://127.0.0.1:0").await.unwrap_err();
    assert!(failed.to_string().contains("Purchases"), "{failed}");

    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let twice = Client::builder().serve(RefundsServer::new(Desk)).serve(RefundsServer::new(Desk));
    let failed = twice.connect(&format!("tcp://{}", server.local_addr())).await.unwrap_err();
    assert!(failed.to_string().contains("Purchases/Refunds"), "{failed}");
}

#[tokio::test]
#[should_panic(expected = "Purchases")]
async fn one_path_served_twice_on_a_live_socket_panics_with_its_name() {
    let server = Server::builder().build();
    let _client = Client::builder().connect_local(&server).await.unwrap();
    let socket = &server.sockets()[0];
    socket.serve(PurchasesServer::new(Shop::unwatched()));
    socket.serve(PurchasesServer::new(Shop::unwatched()));
}

#[tokio::test]
async fn a_server_that_was_shut_down_lets_nobody_in() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    server.shutdown().await;
    assert!(Client::builder().connect(&url).await.is_err());
    assert!(Client::builder().connect_local(&server).await.is_err());
    assert!(server.bind("tcp://127.0.0.1:0").await.is_err());
}

#[tokio::test]
async fn a_user_may_accept_connections_of_its_own() {
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched())).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = server.clone();
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(accepting.accept(stream)).await.unwrap()
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = Client::builder().connect_over(stream).await.unwrap();
    assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
    assert_eq!(server.sockets(), [accepted.await.unwrap().unwrap()]);
}
