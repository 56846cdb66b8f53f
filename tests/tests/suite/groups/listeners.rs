//! Listeners. All listeners receive an emit, and the first listener replies to a request.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use sockets::{CallError, Client, Listener, Peer, Server, Socket};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

type Received = UnboundedSender<String>;

/// Listens to `Purchases.viewed` and `Purchases.get_price`. The listeners answer with `number`.
fn listen(peer: &Peer, number: u32, sender: &Received) -> (Listener, Listener) {
    let sender = sender.clone();
    let group = peer.group("Purchases");
    let viewed = group.listen("viewed", move |item: String| {
        sender.send(format!("{number}: {item}")).unwrap();
        async {}
    });
    (viewed, group.listen("get_price", move |_: String| async move { Some(number) }))
}

struct Counter {
    price: u32,
    sender: Received,
}

impl Purchases for Counter {
    async fn get_price(&self, _: &str) -> Option<u32> {
        Some(self.price)
    }

    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError> {
        Ok(Receipt { item: item.into(), count })
    }

    async fn viewed(&self, item: &str) {
        self.sender.send(format!("typed {}: {item}", self.price)).unwrap();
    }
}

fn counter(price: u32, sender: &Received) -> PurchasesServer<Counter> {
    PurchasesServer::new(Counter { price, sender: sender.clone() })
}

async fn pair(net: Transport) -> (Server<Player>, Client, Socket<Player>) {
    let server = net.serve(players()).await;
    let client = net.join(&server, "ada", Client::builder()).await;
    let socket = server.sockets()[0].clone();
    (server, client, socket)
}

/// Emits `viewed`, and returns the texts that the listeners received, in alphabetical order.
async fn hear(client: &Client, receives: &mut UnboundedReceiver<String>, item: &str) -> Vec<String> {
    let purchases = PurchasesClient::new(client);
    purchases.viewed(item).await.unwrap();
    // The listeners of the emit end before the handler of `buy` starts. Therefore all listeners
    // have received the emit when `buy` completes.
    purchases.buy("anything", 1).await.ok();
    let mut all: Vec<_> = std::iter::from_fn(|| receives.try_recv().ok()).collect();
    all.sort_unstable();
    all
}

async fn price(client: &Client) -> Result<Option<u32>, CallError> {
    PurchasesClient::new(client).get_price("sword").await
}

tcp_and_memory! {
    async fn emit_reaches_all_listeners_and_request_the_first(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        listen(socket.as_peer(), 1, &sender);
        listen(socket.as_peer(), 2, &sender);
        listen(socket.as_peer(), 3, &sender);
        assert_eq!(hear(&client, &mut receives, "sword").await, ["1: sword", "2: sword", "3: sword"]);
        assert_eq!(price(&client).await, Ok(Some(1)));
    }

    async fn client_listeners_follow_the_same_rules(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        listen(client.as_peer(), 1, &sender);
        listen(client.as_peer(), 2, &sender);
        let purchases = PurchasesClient::new(&socket);
        purchases.viewed("sword").await.unwrap();
        assert_eq!(purchases.get_price("sword").await, Ok(Some(1)));
        assert_eq!(receives.try_recv().unwrap(), "1: sword");
        assert_eq!(receives.try_recv().unwrap(), "2: sword");
        client.group("Purchases").set_callback("get_price", |_: String| async { Some(9_u32) });
        assert_eq!(purchases.get_price("sword").await, Ok(Some(9)));
    }

    async fn stopped_listener_is_replaced_by_the_next(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        let first = listen(socket.as_peer(), 1, &sender);
        let second = listen(socket.as_peer(), 2, &sender);
        first.0.stop();
        first.1.stop();
        first.1.stop();
        assert_eq!(hear(&client, &mut receives, "sword").await, ["2: sword"]);
        assert_eq!(price(&client).await, Ok(Some(2)));
        second.0.stop();
        second.1.stop();
        assert!(hear(&client, &mut receives, "sword").await.is_empty());
        assert_eq!(price(&client).await, Err(CallError::NoSuchMethod));
        listen(socket.as_peer(), 3, &sender);
        assert_eq!(price(&client).await, Ok(Some(3)));
    }

    async fn dropped_listener_handle_keeps_the_listener(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        drop(listen(socket.as_peer(), 1, &sender));
        assert_eq!(hear(&client, &mut receives, "sword").await, ["1: sword"]);
        assert_eq!(price(&client).await, Ok(Some(1)));
    }

    async fn callback_overrides_replies_and_not_emits(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        listen(socket.as_peer(), 1, &sender);
        let purchases = socket.group("Purchases");
        purchases.set_callback("get_price", |_: String| async { Some(7_u32) });
        listen(socket.as_peer(), 2, &sender);
        assert_eq!(price(&client).await, Ok(Some(7)));
        purchases.set_callback("get_price", |_: String| async { Some(8_u32) });
        assert_eq!(price(&client).await, Ok(Some(8)), "the last callback counts");
        assert_eq!(hear(&client, &mut receives, "sword").await, ["1: sword", "2: sword"]);
    }

    async fn callback_overrides_a_typed_group(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        socket.serve(counter(10, &sender));
        socket.group("Purchases").set_callback("get_price", |_: String| async { Some(7_u32) });
        assert_eq!(price(&client).await, Ok(Some(7)));
        assert_eq!(hear(&client, &mut receives, "sword").await, ["typed 10: sword"]);
    }

    async fn callback_overrides_a_group_of_the_server(net: Transport) {
        let (sender, _receiver) = unbounded_channel();
        let server = net.serve(players().serve(counter(10, &sender))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let other = net.join(&server, "bob", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        socket.group("Purchases").set_callback("get_price", |_: String| async { Some(7_u32) });
        assert_eq!(price(&client).await, Ok(Some(7)));
        assert_eq!(price(&other).await, Ok(Some(10)));
    }

    async fn typed_group_counts_as_one_listener(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        socket.serve(counter(10, &sender));
        listen(socket.as_peer(), 1, &sender);
        assert_eq!(price(&client).await, Ok(Some(10)), "the group was first");
        assert_eq!(hear(&client, &mut receives, "sword").await, ["1: sword", "typed 10: sword"]);
    }

    async fn listener_before_a_typed_group_replies(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        let (_, answering) = listen(socket.as_peer(), 1, &sender);
        socket.serve(counter(10, &sender));
        assert_eq!(price(&client).await, Ok(Some(1)));
        assert_eq!(hear(&client, &mut receives, "sword").await, ["1: sword", "typed 10: sword"]);
        answering.stop();
        assert_eq!(price(&client).await, Ok(Some(10)));
    }

    async fn group_of_a_socket_shadows_the_servers(net: Transport) {
        let (sender, mut receives) = unbounded_channel();
        let server = net.serve(players().serve(counter(10, &sender))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let other = net.join(&server, "bob", Client::builder()).await;
        let socket = server.socket("ada").unwrap();
        socket.serve(counter(20, &sender));
        assert_eq!(price(&client).await, Ok(Some(20)));
        assert_eq!(price(&other).await, Ok(Some(10)));
        assert_eq!(hear(&client, &mut receives, "sword").await, ["typed 20: sword"]);
        assert_eq!(hear(&other, &mut receives, "sword").await, ["typed 10: sword"]);
    }

    async fn panicking_listener_does_not_stop_others(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        socket.group("Purchases").listen("viewed", |_: String| async { panic!("this is meant to happen") as () });
        listen(socket.as_peer(), 2, &sender);
        assert_eq!(hear(&client, &mut receives, "sword").await, ["2: sword"]);
        assert_eq!(price(&client).await, Ok(Some(2)));
    }

    async fn listener_may_stop_itself_and_add_others(net: Transport) {
        let (_server, client, socket) = pair(net).await;
        let (sender, mut receives) = unbounded_channel();
        let (received_once, peer) = (sender.clone(), socket.clone());
        let slot = Arc::new(std::sync::OnceLock::<Listener>::new());
        let own = Arc::clone(&slot);
        let once = socket.group("Purchases").listen("viewed", move |item: String| {
            received_once.send(format!("once: {item}")).unwrap();
            own.get().unwrap().stop();
            listen(peer.as_peer(), 5, &received_once);
            async {}
        });
        slot.set(once).unwrap();
        assert_eq!(hear(&client, &mut receives, "a").await, ["once: a"]);
        assert_eq!(hear(&client, &mut receives, "b").await, ["5: b"]);
    }
}

/// If a listener is dropped, its captured values are dropped, too, and their `Drop` implementations
/// may call the library.
#[tokio::test]
async fn listener_stopping_another_on_drop_does_not_hang() {
    struct StopsWhenDropped(Listener);

    impl Drop for StopsWhenDropped {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let server = Server::builder().build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let guard = StopsWhenDropped(client.listen("other", |(): ()| async {}));
    let listener = client.listen("one", move |(): ()| {
        let _ = &guard;
        async {}
    });
    let (done, stopped) = mpsc::channel();
    std::thread::spawn(move || {
        listener.stop();
        done.send(()).unwrap();
    });
    let stopped = tokio::task::spawn_blocking(move || stopped.recv_timeout(Duration::from_secs(5)));
    assert_eq!(stopped.await.unwrap(), Ok(()), "it hangs");
}
