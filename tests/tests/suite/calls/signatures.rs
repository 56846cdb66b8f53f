//! Typed calls to methods that the peer declares differently. Such a call fails before it is sent,
//! and the error shows both signatures.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::StreamExt;
use sockets::{CallError, Client, Peer, Stats};
use sockets_tests::*;

/// A group before a change.
mod old {
    #[sockets::group("Shop")]
    pub(crate) trait Shop {
        async fn price(&self, item: &str) -> Option<u32>;
        async fn stock(&self, items: Vec<String>) -> u64;
        async fn closed(&self) -> bool;
        #[emit]
        async fn viewed(&self, item: &str);
    }
}

/// The same group after a change.
mod new {
    #[sockets::group("Shop")]
    pub(crate) trait Shop {
        async fn price(&self, item: &str) -> Option<u64>;
        async fn stock(&self, items: &[String]) -> usize;
        #[emit]
        async fn viewed(&self, item: &str, times: u32);
    }
}

/// The same group with another return type.
mod other {
    #[sockets::group("Shop")]
    pub(crate) trait Shop {
        async fn closed(&self) -> u8;
    }
}

/// A handler that counts its calls.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl old::Shop for Counter {
    async fn price(&self, _: &str) -> Option<u32> {
        self.count();
        Some(1)
    }

    async fn stock(&self, items: Vec<String>) -> u64 {
        items.len() as u64
    }

    async fn closed(&self) -> bool {
        true
    }

    async fn viewed(&self, _: &str) {
        self.count();
    }
}

impl new::Shop for Counter {
    async fn price(&self, _: &str) -> Option<u64> {
        self.count();
        Some(2)
    }

    async fn stock(&self, items: &[String]) -> usize {
        items.len()
    }

    async fn viewed(&self, _: &str, _: u32) {
        self.count();
    }
}

fn old_shop(counter: &Counter) -> old::ShopServer<Counter> {
    old::ShopServer::new(counter.clone())
}

fn new_shop(counter: &Counter) -> new::ShopServer<Counter> {
    new::ShopServer::new(counter.clone())
}

/// Makes a request. When the request ends, both peers have handled all earlier messages.
async fn round_trip(peer: &Peer) {
    assert_eq!(peer.request::<()>("nothing", &()).await, Err(CallError::NoSuchMethod));
}

async fn old_price(peer: &Peer) -> Result<Option<u32>, CallError> {
    old::ShopClient::new(peer).price("sword").await
}

/// Expects a signature mismatch, and returns its message.
fn mismatch<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Err(error @ CallError::SignatureMismatch(_)) => error.to_string(),
        other => panic!("not a mismatch: {other:?}"),
    }
}

/// Calls the new group with the stub of the old group, and expects mismatches.
async fn differs(peer: &Peer, counter: &Counter) {
    let shop = old::ShopClient::new(peer);
    let price = mismatch(shop.price("sword").await);
    assert!(price.contains("Shop/price") && price.contains("(String) -> Option<u32>"), "{price}");
    // The first signature comes from `printf '(String) -> Option<u32>' | sha256sum`. The second
    // signature comes from the same command with `u64` instead of `u32`.
    assert!(price.contains("ea743d74a1d7f98f") && price.contains("adf88b0f1bd3d9db"), "{price}");
    let viewed = mismatch(shop.viewed("sword").await);
    assert!(viewed.contains("Shop/viewed") && viewed.contains("emit (String)"), "{viewed}");

    assert_eq!(shop.stock(vec!["sword".into()]).await, Ok(1), "types with the same encoding match");
    round_trip(peer).await;
    assert_eq!(counter.get(), 0, "no mismatched call was sent");
}

tcp_and_memory! {
    /// Fault 7 of RELIABILITY.md.
    async fn mismatched_call_to_a_server_is_not_sent(net: Transport) {
        let counter = Counter::default();
        let server = net.serve(players().serve(new_shop(&counter))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        differs(client.as_peer(), &counter).await;
        assert_eq!(server.sockets()[0].stats(), Stats::default(), "no emit was received");
    }

    async fn mismatched_call_to_a_client_is_not_sent(net: Transport) {
        let counter = Counter::default();
        let server = net.serve(players()).await;
        let client = net.join(&server, "ada", Client::builder().serve(new_shop(&counter))).await;
        round_trip(client.as_peer()).await;
        differs(server.sockets()[0].as_peer(), &counter).await;
        assert_eq!(client.stats(), Stats::default(), "no emit was received");
    }

    async fn removed_method_fails_as_no_such_method(net: Transport) {
        let server = net.serve(players().serve(new_shop(&Counter::default()))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(old::ShopClient::new(&client).closed().await, Err(CallError::NoSuchMethod));
    }

    async fn dynamic_call_is_not_checked(net: Transport) {
        let counter = Counter::default();
        let server = net.serve(players().serve(new_shop(&counter))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let shop = client.group("Shop");
        assert_eq!(shop.request::<Option<u32>>("price", "sword").await, Ok(Some(2)));
        assert!(matches!(shop.request::<Option<u32>>("price", &()).await, Err(CallError::Decode(_))));
        shop.emit("viewed", "sword").await.unwrap();
        shop.emit("viewed", &("sword", 2_u32)).await.unwrap();
        round_trip(client.as_peer()).await;
        assert_eq!(counter.get(), 2);
    }

    async fn audience_call_checks_each_member(net: Transport) {
        let (olds, news) = (Counter::default(), Counter::default());
        let server = net.serve(players()).await;
        let ada = net.join(&server, "ada", Client::builder().serve(old_shop(&olds))).await;
        let bob = net.join(&server, "bob", Client::builder().serve(new_shop(&news))).await;
        let eve = net.join(&server, "eve", Client::builder()).await;
        for client in [&ada, &bob, &eve] {
            round_trip(client.as_peer()).await;
        }
        let all = old::ShopClient::new(&server.all());
        let outcomes = all.price("sword").map(|(member, outcome)| (member.identity().name.clone(), outcome));
        let outcomes: Vec<_> = outcomes.collect().await;
        let mut outcomes: BTreeMap<_, _> = outcomes.into_iter().collect();
        assert_eq!(outcomes.len(), 3, "one outcome for each member");
        assert_eq!(outcomes.remove("ada").unwrap(), Ok(Some(1)));
        assert_eq!(outcomes.remove("eve").unwrap(), Err(CallError::NoSuchMethod));
        assert!(mismatch(outcomes.remove("bob").unwrap()).contains("Shop/price"));

        all.viewed("sword").await.unwrap();
        for socket in server.sockets() {
            round_trip(socket.as_peer()).await;
            assert_eq!(socket.stats().mismatched_emits, u64::from(socket.identity().name == "bob"));
        }
        assert_eq!((olds.get(), news.get()), (2, 0));
        assert_eq!([&ada, &bob, &eve].map(|client| client.stats().unhandled_emits), [0, 0, 1]);

        server.all().group("Shop").emit("viewed", &("by name", 1_u32)).await.unwrap();
        round_trip(server.socket("bob").unwrap().as_peer()).await;
        assert_eq!(news.get(), 1, "an emit by name is for all");
    }

    async fn group_served_in_the_hook_is_checked_at_the_first_call(net: Transport) {
        let counter = Counter::default();
        let served = counter.clone();
        let server = net.serve(players().connected(move |socket| {
            socket.serve(new_shop(&served));
            async {}
        })).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        mismatch(old_price(client.as_peer()).await);
        assert_eq!(counter.get(), 0);
    }

    async fn group_served_later_is_checked_from_then_on(net: Transport) {
        let (counter, server) = (Counter::default(), net.serve(players()).await);
        let client = net.join(&server, "ada", Client::builder()).await;
        let socket = server.sockets()[0].clone();
        for (server, caller) in [(socket.as_peer(), client.as_peer()), (client.as_peer(), socket.as_peer())] {
            assert_eq!(old_price(caller).await, Err(CallError::NoSuchMethod));
            server.serve(new_shop(&counter));
            round_trip(caller).await;
            mismatch(old_price(caller).await);
        }
        assert_eq!(counter.get(), 0);
    }

    async fn group_served_by_one_socket_is_checked_for_it_alone(net: Transport) {
        let counter = Counter::default();
        let server = net.serve(players().serve(old_shop(&counter))).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        assert_eq!(new::ShopClient::new(&ada).viewed("sword", 1).await.map_err(|_| ()), Err(()));
        server.socket("ada").unwrap().serve(new_shop(&counter));
        round_trip(ada.as_peer()).await;
        mismatch(old_price(ada.as_peer()).await);
        assert_eq!(new::ShopClient::new(&ada).price("sword").await, Ok(Some(2)));
        assert_eq!(old::ShopClient::new(&ada).closed().await, Err(CallError::NoSuchMethod));
        assert_eq!(old_price(bob.as_peer()).await, Ok(Some(1)));
        mismatch(new::ShopClient::new(&bob).price("sword").await);
    }

    async fn replaced_group_withdraws_its_signatures(net: Transport) {
        let server = net.serve(players().serve(old_shop(&Counter::default()))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        mismatch(other::ShopClient::new(&client).closed().await);
        server.sockets()[0].serve(new_shop(&Counter::default()));
        round_trip(client.as_peer()).await;
        assert_eq!(other::ShopClient::new(&client).closed().await, Err(CallError::NoSuchMethod));
    }

    async fn listened_method_is_not_checked_until_the_listener_stops(net: Transport) {
        let server = net.serve(players().serve(new_shop(&Counter::default()))).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let shop = server.sockets()[0].group("Shop");
        mismatch(old_price(client.as_peer()).await);
        let callback = shop.set_callback("price", |_: String| async { Some(3_u32) });
        let listener = shop.listen("viewed", |_: String| async {});
        round_trip(client.as_peer()).await;
        assert_eq!(old_price(client.as_peer()).await, Ok(Some(3)));
        assert_eq!(old::ShopClient::new(&client).viewed("sword").await, Ok(()));
        callback.stop();
        listener.stop();
        round_trip(client.as_peer()).await;
        mismatch(old_price(client.as_peer()).await);
        mismatch(old::ShopClient::new(&client).viewed("sword").await);
    }

    async fn announcement_above_max_frame_is_split(net: Transport) {
        let limits = sockets::Limits::new().max_frame(256);
        let counter = Counter::default();
        let builder = players().serve(ManyServer::new(Every)).serve(new_shop(&counter));
        let server = net.serve(builder).await;
        let client = net.join(&server, "ada", Client::builder().limits(limits)).await;
        differs(client.as_peer(), &counter).await;
        mismatch(fewer::ManyClient::new(&client).a().await);
        mismatch(fewer::ManyClient::new(&client).o().await);
        assert_eq!(ManyClient::new(&client).a().await, Ok(1));
        assert_eq!(ManyClient::new(&client).o().await, Ok(1));
    }
}

macro_rules! many {
    ($($name:ident)*) => {
        #[sockets::group("Many")]
        trait Many {
            $(async fn $name(&self) -> u8;)*
        }

        struct Every;

        impl Many for Every {
            $(async fn $name(&self) -> u8 { 1 })*
        }
    };
}

many! { a b c d e f g h i j k l m n o }

mod fewer {
    #[sockets::group("Many")]
    pub(crate) trait Many {
        async fn a(&self) -> u16;
        async fn o(&self) -> u16;
    }
}
