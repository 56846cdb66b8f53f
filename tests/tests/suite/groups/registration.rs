//! Groups are registered at servers, clients and sockets.

use std::sync::Arc;

use sockets::{Client, Server};
use sockets_tests::*;

tcp_and_memory! {
    async fn both_peers_serve_and_call_one_group(net: Transport) {
        let server = net.serve(Server::builder().serve(PurchasesServer::new(Shop::unwatched()))).await;
        let client = Client::builder().serve(PurchasesServer::new(Shop::unwatched()));
        let client = net.connect(&server, client).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
        let back = PurchasesClient::new(&server.sockets()[0]);
        assert_eq!(back.get_price("sword").await, Ok(Some(10)));
        assert_eq!(back.get_price("shield").await, Ok(None));
    }

    async fn shared_handler_serves_several_clients(net: Transport) {
        let shop = Arc::new(Shop::unwatched());
        let server = net.serve(Server::builder()).await;
        let _a = net.connect(&server, Client::builder().serve(PurchasesServer::from_arc(Arc::clone(&shop)))).await;
        let _b = net.connect(&server, Client::builder().serve(PurchasesServer::from_arc(shop))).await;
        for socket in server.sockets() {
            assert_eq!(PurchasesClient::new(&socket).get_price("sword").await, Ok(Some(10)));
        }
    }
}

#[tokio::test]
async fn group_served_twice_fails_at_start() {
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
async fn group_served_twice_on_a_socket_panics() {
    let server = Server::builder().build();
    let _client = Client::builder().connect_local(&server).await.unwrap();
    let socket = &server.sockets()[0];
    socket.serve(PurchasesServer::new(Shop::unwatched()));
    socket.serve(PurchasesServer::new(Shop::unwatched()));
}
