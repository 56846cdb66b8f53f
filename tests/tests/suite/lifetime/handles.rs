//! Handles that keep a server or client open. Also the values that a session drops when it ends.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use sockets::{Call, Client, DisconnectReason, Peer, Server, Socket};
use sockets_tests::*;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};

#[sockets::group("Keeper")]
trait Keeper {
    /// Sends the handles of the call to the test.
    async fn keep(&self, call: &Call);
    async fn wait(&self);
}

struct Keeps {
    server: UnboundedSender<(Server<Player>, Socket<Player>, Peer)>,
    held: Arc<()>,
}

impl Keeper for Keeps {
    async fn keep(&self, call: &Call) {
        let kept = (call.server().unwrap(), call.socket().unwrap(), call.peer().clone());
        self.server.send(kept).unwrap();
    }

    async fn wait(&self) {
        let _held = Arc::clone(&self.held);
        std::future::pending::<()>().await;
    }
}

every_transport! {
    async fn last_client_handle_dropped_closes_the_client(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        let clone = client.clone();
        drop(client);
        clone.emit("anything", &()).await.unwrap();
        server.all().emit("anything", &()).await.unwrap();
        assert!(clone.is_connected() && socket.is_connected());

        drop(clone);
        assert_eq!(socket.disconnected().await, DisconnectReason::PeerClosed);
        net.wait_until_empty(&server).await;
    }

    async fn emits_before_the_last_handle_is_dropped_arrive(net: Transport) {
        let (shop, mut seen) = Shop::new();
        let server = net.serve(Server::builder().serve(PurchasesServer::new(shop))).await;
        let client = net.connect(&server, Client::builder()).await;
        for n in 0..100 {
            PurchasesClient::new(&client).viewed(&n.to_string()).await.unwrap();
        }
        drop(client);
        for n in 0..100 {
            assert_eq!(seen.recv().await, Some(n.to_string()));
        }
    }
}

tcp_and_memory! {
    async fn peers_stubs_groups_and_listeners_keep_no_client_open(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        let peer: Peer = Peer::clone(client.as_peer());
        let stub = PurchasesClient::new(&client);
        let group = client.group("Purchases");
        let listener = client.listen("news", |(): ()| async {});
        drop(client);
        assert_eq!(socket.disconnected().await, DisconnectReason::PeerClosed);
        assert_eq!(peer.disconnected().await, DisconnectReason::Closed);
        assert!(stub.get_price("sword").await.is_err());
        assert!(group.request::<Option<u32>>("get_price", &"sword").await.is_err());
        assert!(peer.emit("news", &()).await.is_err());
        listener.stop();
    }

    async fn last_server_handle_dropped_closes_the_server(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", once()).await;
        let clone = server.clone();
        drop(server);
        let another = net.join(&clone, "bob", once()).await;
        assert!(client.is_connected());

        drop(clone);
        assert!(is_restart(&client.disconnected().await));
        assert!(is_restart(&another.disconnected().await));
    }

    async fn sockets_audiences_and_stubs_keep_no_server_open(net: Transport) {
        let (keep, mut kept) = unbounded_channel();
        let keeper = KeeperServer::new(Keeps { server: keep, held: Arc::default() });
        let server = net.serve(players().serve(keeper)).await;
        let client = net.join(&server, "ada", once()).await;
        KeeperClient::new(&client).keep().await.unwrap();
        let of_a_call = kept.recv().await.unwrap();
        let socket = server.socket("ada").unwrap();
        let of_a_socket = socket.server();
        let clone_of_that = of_a_socket.clone();
        let audiences = [server.all(), server.room("lobby"), of_a_socket.all(), server.clients([&socket])];
        let stubs = (LobbyClient::new(&server.all()), LobbyClient::new(&socket));
        let group = server.all().group("Lobby");
        assert_eq!(clone_of_that.sockets().len(), 1, "it works as long as the server is open");

        drop(server);
        assert!(is_restart(&client.disconnected().await));
        eventually("the socket has left", || audiences[0].sockets().is_empty()).await;
        assert!(!of_a_call.1.is_connected());
        assert!(of_a_socket.sockets().is_empty());
        let refused = net.has_address()
            || net.try_connect(&clone_of_that, once().auth(Login::new("eve"))).await.is_err();
        assert!(refused);
        drop((of_a_call, stubs, group));
    }

    async fn handlers_of_a_socket_are_dropped_with_its_session(net: Transport) {
        let held = Arc::new(());
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        let (keep, kept) = unbounded_channel();
        drop(kept);
        socket.serve(KeeperServer::new(Keeps { server: keep, held: Arc::clone(&held) }));
        // The socket holds each of these closures, and each closure holds the socket. The end of
        // the session breaks this cycle.
        let (guard, ring) = (Arc::clone(&held), socket.clone());
        let listener = socket.listen("one", move |(): ()| { let _ = (&guard, &ring); async {} });
        let (guard, ring) = (Arc::clone(&held), socket.clone());
        socket.group("Some").set_callback("two", move |(): ()| { let _ = (&guard, &ring); async {} });
        let (guard, ring) = (Arc::clone(&held), socket.clone());
        socket.on_disconnect(move |_| async move { drop((guard, ring)); });
        assert_eq!(Arc::strong_count(&held), 5);

        drop(client);
        eventually("nothing is held", || Arc::strong_count(&held) == 1).await;
        drop((socket, listener));
    }

    async fn handlers_of_a_client_are_dropped_with_its_session(net: Transport) {
        let held = Arc::new(());
        let server = net.serve(players()).await;
        let (keep, _) = unbounded_channel();
        let keeper = KeeperServer::new(Keeps { server: keep, held: Arc::clone(&held) });
        let client = net.join(&server, "ada", Client::builder().serve(keeper)).await;
        assert_eq!(Arc::strong_count(&held), 2);

        server.sockets()[0].disconnect("go");
        eventually("nothing is held", || Arc::strong_count(&held) == 1).await;
        drop(client);
    }

    async fn listeners_of_a_client_are_dropped_with_its_session(net: Transport) {
        let held = Arc::new(());
        let server = net.serve(players()).await;
        let guard = Arc::clone(&held);
        let builder = Client::builder().first_session(move |peer| {
            peer.listen("one", move |(): ()| {
                let _ = &guard;
                async {}
            });
            async {}
        });
        let client = net.join(&server, "ada", builder).await;
        let guard = Arc::clone(&held);
        client.on_disconnect(move |_| async move { drop(guard) });
        assert_eq!(Arc::strong_count(&held), 3);

        server.sockets()[0].disconnect("go");
        eventually("nothing is held", || Arc::strong_count(&held) == 1).await;
        drop(client);
    }

    async fn running_handler_is_dropped_with_its_session(net: Transport) {
        let held = Arc::new(());
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let (keep, kept) = unbounded_channel();
        drop(kept);
        server.sockets()[0].serve(KeeperServer::new(Keeps { server: keep, held: Arc::clone(&held) }));
        let peer = Peer::clone(client.as_peer());
        let waiting = tokio::spawn(async move { KeeperClient::new(&peer).wait().await });
        eventually("the handler runs", || Arc::strong_count(&held) == 3).await;
        drop(client);
        assert!(waiting.await.unwrap().is_err());
        eventually("nothing is held", || Arc::strong_count(&held) == 1).await;
    }

    async fn handlers_of_a_server_are_dropped_with_it(net: Transport) {
        let shop = Arc::new(Shop::unwatched());
        let server = net.serve(players().serve(PurchasesServer::from_arc(Arc::clone(&shop)))).await;
        let client = net.join(&server, "ada", once()).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
        assert_eq!(Arc::strong_count(&shop), 2);
        drop(server);
        client.disconnected().await;
        drop(client);
        eventually("the shop is ours again", || Arc::strong_count(&shop) == 1).await;
    }

    async fn every_hook_runs_once_with_the_reason(net: Transport) {
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        let (sender, mut receiver) = unbounded_channel();
        let hook = |who: &'static str| {
            let sender = sender.clone();
            move |reason: DisconnectReason| async move { sender.send((who, reason)).unwrap() }
        };
        socket.on_disconnect(hook("socket"));
        socket.on_disconnect(hook("socket again"));
        client.on_disconnect(hook("client"));
        socket.disconnect("enough");
        assert_eq!(client.disconnected().await.message(), Some("enough"));
        assert_eq!(socket.disconnected().await.message(), Some("enough"));
        client.on_disconnect(hook("late"));
        socket.on_disconnect(hook("late socket"));

        drop(sender);
        let mut all = Vec::new();
        while let Some((who, reason)) = receiver.recv().await {
            assert_eq!(reason.message(), Some("enough"), "{who}");
            assert!(reason.to_string().contains("enough"), "{reason}");
            all.push(who);
        }
        all.sort_unstable();
        assert_eq!(all, ["client", "late", "late socket", "socket", "socket again"]);
    }
}

/// A stream with an `Arc`, whose count shows whether the stream has been dropped.
struct Held(DuplexStream, #[expect(dead_code, reason = "counted by its clones")] Arc<()>);

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn handle_does_not_hold_the_stream_of_an_ended_session() {
    let server = Server::builder().build();
    let (near, far) = tokio::io::duplex(1 << 16);
    let held = Arc::new(());
    let near = Held(near, Arc::clone(&held));
    let (accepted, connected) = tokio::join!(server.accept(near), Client::builder().connect_over(far));
    let socket = accepted.unwrap();
    drop(connected.unwrap());
    assert_eq!(within(socket.disconnected()).await, DisconnectReason::PeerClosed);
    eventually("the stream is dropped", || Arc::strong_count(&held) == 1).await;
    drop(socket);
}

#[tokio::test]
async fn socket_and_peer_keep_nothing_open() {
    let server = Server::builder().build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let (peer, socket, clone) = (Peer::clone(client.as_peer()), server.sockets().remove(0), client.clone());
    drop(client);
    assert!(peer.is_connected());
    drop(clone);
    assert_eq!(within(socket.disconnected()).await, DisconnectReason::PeerClosed);
    let client = Client::builder().connect_local(&server).await.unwrap();
    let borrowed = server.sockets().remove(0).server();
    drop(server);
    assert!(is_restart(&within(client.disconnected()).await));
    assert!(borrowed.sockets().is_empty());
}
