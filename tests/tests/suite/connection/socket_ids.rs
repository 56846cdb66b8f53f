//! The IDs of sockets identify sessions.

use std::collections::HashSet;

use sockets::{Call, Client, ClientState, Member, Server, Socket, SocketId, test_util::Link};
use sockets_tests::{eventually, reconnecting, tcp_and_memory, within};

#[sockets::group("Ids")]
trait Ids {
    async fn own_id(&self, call: &Call) -> String;
}

struct Answering;

impl Ids for Answering {
    async fn own_id(&self, call: &Call) -> String {
        call.socket::<()>().map(|socket| socket.id().to_string()).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_id_is_stable_over_resumption() {
    let server = Server::builder().serve(IdsServer::new(Answering)).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let mut states = client.states();
    let id = server.sockets()[0].id();
    for _ in 0..3 {
        link.cut();
        link.restore();
        while !matches!(within(states.next()).await, Some(ClientState::Connected { .. })) {}
        assert_eq!(within(IdsClient::new(&client).own_id()).await, Ok(id.to_string()));
    }
    assert_eq!(server.sockets().iter().map(Socket::id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn ids_of_sessions_and_servers_are_different() {
    let mut ids: HashSet<SocketId> = HashSet::new();
    // A clone of a builder makes another server.
    let builder = Server::builder();
    for server in [builder.clone().build(), builder.build(), Server::builder().build()] {
        // A later session does not use the ID of an earlier session.
        for _ in 0..3 {
            let client = Client::builder().connect_local(&server).await.unwrap();
            assert!(ids.insert(server.sockets()[0].id()));
            client.close().await;
            eventually("the socket has left", || server.sockets().is_empty()).await;
        }
    }
    assert_eq!(ids.len(), 9);
}

tcp_and_memory! {
    async fn id_of_member_is_the_id_of_its_socket(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let _clients = [net.connect(&server, Client::builder()).await, net.connect(&server, Client::builder()).await];
        let ids: Vec<_> = server.sockets().iter().map(Socket::id).collect();
        let members: Vec<_> = server.all().members().await.iter().map(Member::id).collect();
        assert_eq!(members, ids);
        assert!(ids.is_sorted(), "in the order in which the clients connected");
    }
}
