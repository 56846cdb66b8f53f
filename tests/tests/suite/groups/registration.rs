//! Groups are registered at servers, clients and sockets.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use sockets::{Client, Limits, Server, Socket};
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

/// Asserts that a second registration panics, and that the message names both registrations.
fn assert_conflict<T>(twice: impl FnOnce() -> T, type_name: &str, lines: [u32; 2]) {
    let panic = catch_unwind(AssertUnwindSafe(twice)).err().unwrap();
    let message = panic.downcast_ref::<String>().unwrap();
    assert_eq!(message.matches(type_name).count(), 2, "{message}");
    for line in lines {
        assert!(message.contains(&format!("{}:{line}:", file!())), "line {line}: {message}");
    }
}

#[test]
fn group_served_twice_by_a_builder_panics_at_the_call() {
    let first = line!() + 1;
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched()));
    assert_conflict(|| server.serve(PurchasesServer::new(Shop::unwatched())), "PurchasesServer<", [first, line!()]);

    let first = line!() + 1;
    let client = Client::builder().serve(RefundsServer::new(Desk));
    assert_conflict(|| client.serve(RefundsServer::new(Desk)), "RefundsServer<", [first, line!()]);
}

#[test]
fn serve_and_serve_each_conflict_at_the_call() {
    let each = |_: &Socket| PurchasesServer::new(Shop::unwatched());
    let first = line!() + 1;
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched()));
    assert_conflict(|| server.serve_each(each), "PurchasesServer<", [first, line!()]);

    let first = line!() + 1;
    let server = Server::builder().serve_each(each);
    assert_conflict(|| server.clone().serve_each(each), "PurchasesServer<", [first, line!()]);
    assert_conflict(|| server.serve(PurchasesServer::new(Shop::unwatched())), "PurchasesServer<", [first, line!()]);
}

#[tokio::test]
async fn limit_of_names_does_not_count_groups_of_a_builder() {
    let limits = Limits::new().names_per_peer(1);
    let server = Server::builder().limits(limits).serve(PurchasesServer::new(Shop::unwatched())).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
    server.sockets()[0].listen("one", |(): ()| async {});
    assert_eq!(client.request::<()>("one", &()).await, Ok(()));
}

#[tokio::test]
async fn group_served_twice_on_a_socket_panics() {
    let server = Server::builder().build();
    let _client = Client::builder().connect_local(&server).await.unwrap();
    let socket = &server.sockets()[0];
    let first = line!() + 1;
    socket.serve(PurchasesServer::new(Shop::unwatched()));
    assert_conflict(|| socket.serve(PurchasesServer::new(Shop::unwatched())), "PurchasesServer<", [first, line!()]);
}
