//! Authentication. The tests cover its input, its result, and the login of a client.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};
use sockets::{Client, ConnectError, ConnectInfo, Identity, Refusal, Server, Socket};
use sockets_tests::{every_transport, tcp_and_memory, *};
use tokio::sync::mpsc::unbounded_channel;

every_transport! {
    async fn authentication_receives_connection_info(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|login: Login, handshake: ConnectInfo| async move {
            Ok::<_, Refusal>(Seen((login.name, handshake.remote_addr(), handshake.transport().to_owned())))
        })).await;
        let _client = net.connect(&server, Client::builder().auth(Login::new("ada"))).await;
        let (name, address, transport) = &server.sockets()[0].identity().0;
        assert_eq!(name, "ada");
        assert_eq!(address.is_some_and(|address| address.ip().is_loopback()), net.has_address());
        assert!(!transport.is_empty());
    }
}

tcp_and_memory! {
    async fn identity_without_authentication_is_unit(net: Transport) {
        let server: Server = net.serve(Server::builder().serve(PurchasesServer::new(Shop::unwatched()))).await;
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
        let socket: Socket = server.socket(&()).unwrap();
        assert_eq!(*socket.identity(), ());
        assert_eq!(server.sockets_of(&()), [socket]);
    }

    async fn authentication_receives_the_login(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|name: String| async move {
            if name.is_empty() { Err(Refusal::new("nameless")) } else { Ok(name) }
        })).await;
        let _client = net.connect(&server, Client::builder().auth("ada")).await;
        assert_eq!(*server.sockets()[0].identity(), "ada");
    }

    async fn function_serves_as_authentication(net: Transport) {
        async fn check(login: Login, _: ConnectInfo) -> Result<Player, Refusal> {
            admitting(login).await
        }
        let server = net.serve(Server::builder().authenticate(check)).await;
        let _client = net.join(&server, "ada", Client::builder()).await;
        assert!(server.socket("ada").is_some());
    }

    async fn login_function_runs_for_each_connection(net: Transport) {
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
        assert!(server.socket("ticket 0").is_some());
    }

    async fn login_of_another_type_fails_the_handshake(net: Transport) {
        let server = net.serve(players()).await;
        let failed = net.try_connect(&server, Client::builder()).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
        assert!(server.sockets().is_empty());
    }

    async fn refused_client_receives_the_message_and_is_no_socket(net: Transport) {
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

    async fn socket_is_found_by_an_enum_key(net: Transport) {
        #[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        enum Id { Guest(u64), Member { name: String, admin: bool } }
        impl Identity for Id {
            type Key = Self;
            fn key(&self) -> Self {
                self.clone()
            }
        }
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

    async fn authentication_that_panics_is_a_retry(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|fails: bool| async move {
            assert!(!fails, "it fails");
            Ok::<_, Refusal>(())
        })).await;
        let refused = within(net.try_connect(&server, Client::builder().auth(true))).await.unwrap_err();
        assert!(matches!(&refused, ConnectError::Refused(refusal) if refusal.retry_after().is_some()), "{refused:?}");
        net.connect(&server, Client::builder().auth(false)).await;
    }
}
