//! The identity of a session is the last identity that authentication returned.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sockets::{Call, Client, Refusal, Server, ServerBuilder, Socket};
use sockets_tests::{Relay, eventually, reconnecting, within};

/// A user. The comparison of users uses only the id.
#[derive(Clone, Debug)]
struct User {
    id: u32,
    is_admin: bool,
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for User {}

impl Hash for User {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// Returns a server that admits user 7. At the first authentication, the user is an administrator,
/// but at later authentications, the user is not.
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
    let key = User { id: 7, is_admin: true };
    let found = [
        server.socket(&key).unwrap(),
        server.sockets_of(&key).remove(0),
        server.users([&key]).sockets().remove(0),
        server.all().sockets().remove(0),
    ];
    for found in found {
        assert_eq!(found, socket);
        assert!(!found.identity().is_admin);
    }
    assert_eq!(server.sockets_of(&key).len(), 1);
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
    assert!(server.socket(&User { id: 7, is_admin: false }).is_none());
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
