//! The identity of a session is the last identity that authentication returned.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sockets::{Call, Client, Refusal, Server, ServerBuilder, Socket};
use sockets_tests::{Relay, eventually, reconnecting, tcp_and_memory, within};

/// A user. Its key is only the id.
#[derive(Clone, Debug, sockets::Identity)]
struct User {
    #[identity(key)]
    id: u32,
    is_admin: bool,
}

/// Returns a server that admits user 7. The first authentication makes the user an administrator,
/// but later authentications do not.
fn demoting() -> ServerBuilder<User> {
    let logins = AtomicU32::new(0);
    Server::builder().authenticate(move |(): ()| {
        let is_admin = logins.fetch_add(1, Ordering::Relaxed) == 0;
        async move { Ok::<_, Refusal>(User { id: 7, is_admin }) }
    })
}

async fn resumed(server: &Server<User>) -> (Relay, Client, Socket<User>) {
    let relay = Relay::to(server.local_addr()).await;
    let client = within(reconnecting().connect(&relay.url())).await.unwrap();
    let socket = server.sockets().remove(0);
    assert!(socket.identity().is_admin);
    relay.cut();
    eventually("the session is resumed", || !socket.identity().is_admin).await;
    (relay, client, socket)
}

#[sockets::group("Admin")]
trait Admin {
    async fn is_admin(&self, call: &Call) -> bool;
}

struct Asking;

impl Admin for Asking {
    async fn is_admin(&self, call: &Call) -> bool {
        call.socket::<User>().is_some_and(|socket| socket.identity().is_admin)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_session_has_the_new_identity_in_handlers() {
    let server = demoting().serve(AdminServer::new(Asking)).bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let client = within(reconnecting().connect(&relay.url())).await.unwrap();
    let admin = AdminClient::new(&client);
    assert_eq!(admin.is_admin().await, Ok(true));
    relay.shut();
    eventually("the client has no connection", || client.is_away()).await;
    let (is_admin, ()) = within(async { tokio::join!(admin.is_admin(), async { relay.cut() }) }).await;
    assert_eq!(is_admin, Ok(false), "a call over the new connection sees the new identity");
    assert_eq!(server.sockets().len(), 1, "the session was resumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_session_has_the_new_identity_in_every_index() {
    let server = demoting().bind("tcp://127.0.0.1:0").await.unwrap();
    let (_relay, _client, socket) = resumed(&server).await;
    let found = [
        server.socket(&7).unwrap(),
        server.sockets_of(&7).remove(0),
        server.users([7]).sockets().remove(0),
        server.all().sockets().remove(0),
    ];
    for found in found {
        assert_eq!(found, socket);
        assert!(!found.identity().is_admin);
    }
    assert_eq!(server.sockets_of(&7).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_identity_is_dropped_and_leaves_no_index_entry() {
    let server = demoting().bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let client = within(reconnecting().connect(&relay.url())).await.unwrap();
    let socket = server.sockets().remove(0);
    let first = Arc::downgrade(&socket.identity());
    relay.cut();
    eventually("the first identity is dropped", || first.upgrade().is_none()).await;
    let second = Arc::downgrade(&socket.identity());
    client.close().await;
    eventually("the socket has left", || server.sockets().is_empty()).await;
    assert!(server.socket(&7).is_none());
    drop(socket);
    eventually("the second identity is dropped", || second.upgrade().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_with_another_identity_is_not_resumed() {
    let logins = AtomicU32::new(0);
    let server = Server::builder().authenticate(move |(): ()| {
        let id = logins.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Refusal>(User { id, is_admin: id == 0 }) }
    });
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let relay = Relay::to(server.local_addr()).await;
    let _client = within(reconnecting().connect(&relay.url())).await.unwrap();
    let first = server.sockets().remove(0);
    relay.cut();
    eventually("the client has another session", || server.sockets().len() == 2).await;
    assert!(first.identity().is_admin, "the identity of the first session is its own");
    assert!(server.sockets()[1..].iter().all(|socket| !socket.identity().is_admin));
}

tcp_and_memory! {
    async fn sockets_of_a_user_are_found_by_a_key_of_two_fields(net: Transport) {
        #[derive(Clone, sockets::Identity)]
        struct Employee { #[identity(key)] company: u32, name: &'static str, #[identity(key)] number: u64 }
        let server = net.serve(Server::builder().authenticate(|(company, number): (u32, u64)| async move {
            Ok::<_, Refusal>(Employee { company, name: if number == 7 { "ada" } else { "bob" }, number })
        })).await;
        let client = |company: u32, number: u64| net.connect(&server, Client::builder().auth((company, number)));
        let _clients = [client(1, 7).await, client(1, 8).await, client(2, 7).await, client(1, 7).await];
        assert_eq!(server.sockets_of(&(1, 7)).len(), 2);
        assert_eq!(server.socket(&(1, 7)), server.sockets().pop(), "the newest");
        assert_eq!(server.socket(&(1, 8)).unwrap().identity().name, "bob");
        assert_eq!(server.users([(1, 8), (2, 7)]).sockets(), server.sockets()[1..3]);
        assert!(server.socket(&(2, 8)).is_none());
    }

    async fn borrowed_and_owned_keys_find_the_same_socket(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|name: String| async { Ok::<_, Refusal>(name) })).await;
        let _client = net.connect(&server, Client::builder().auth("ada")).await;
        let (socket, key) = (server.socket("ada"), "ada".to_owned());
        assert!(socket.is_some() && server.socket(&key) == socket);
        for audience in [server.users(["ada"]), server.users(&["ada"]), server.users([&key]), server.users([key])] {
            assert_eq!(audience.sockets(), server.sockets());
        }
        let numbers = net.serve(Server::builder().authenticate(|id: u64| async move { Ok::<_, Refusal>(id) })).await;
        let _client = net.connect(&numbers, Client::builder().auth(7_u64)).await;
        assert_eq!(numbers.socket(&7), numbers.users([7]).sockets().pop());
        assert_eq!(numbers.users([8]).sockets(), []);
    }
}
