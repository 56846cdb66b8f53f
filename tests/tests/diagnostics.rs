//! Errors, events and counts name the method, the argument and its type. They also name the peer,
//! and state whether the client or the server reports the error.
//!
//! These tests have a process of their own, since they install a subscriber for the whole process.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

use std::{
    fmt::{Debug, Write as _},
    future::{pending, ready},
    io,
    sync::Mutex,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sockets::{
    Admission, CallError, Client, Limits, Refusal, Server, Socket,
    layer::{Connecting, Request, Response, layer_fn},
};
use sockets_tests::{Fragile, PanicsOnDrop, eventually};
use tower::service_fn;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// All events, as text.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockets")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        EVENTS.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Records all events from this call on. Several tests share the record.
fn record() {
    let _ = tracing::subscriber::set_global_default(Recorder);
}

/// Waits for an event that contains all these parts.
async fn event(parts: &[&str]) {
    let is_it = |event: &String| parts.iter().all(|part| event.contains(part));
    eventually(&format!("there is an event with {parts:?}"), || EVENTS.lock().unwrap().iter().any(is_it)).await;
}

/// Asserts that a text contains all these parts.
fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// The current version of a type. The module `earlier` has another version, so that the peers of a
/// test can use different versions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    #[serde(default)]
    count: u8,
}

#[sockets::group("Purchases")]
trait Purchases {
    async fn buy(&self, shop: &str, item: Item) -> Item;
    async fn flag(&self, first: bool, second: bool, item: &str) -> bool;
    async fn wait(&self, name: &str);
    async fn fragile(&self, name: &str, value: Fragile) -> Fragile;
    #[emit]
    async fn viewed(&self, item: Item);
    #[emit]
    async fn waits(&self, name: &str);
}

/// An earlier version of the group and of its types.
mod earlier {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Item {
        pub(crate) name: String,
    }

    #[sockets::group("Purchases")]
    pub(crate) trait Purchases {
        async fn buy(&self, shop: &str, item: Item) -> Item;
        #[emit]
        async fn viewed(&self, item: Item);
    }
}

struct Shop;

impl Purchases for Shop {
    async fn buy(&self, _: &str, item: Item) -> Item {
        item
    }

    async fn flag(&self, first: bool, second: bool, _: &str) -> bool {
        first && second
    }

    async fn wait(&self, _: &str) {
        pending::<()>().await;
    }

    async fn fragile(&self, _: &str, _: Fragile) -> Fragile {
        Fragile
    }

    async fn viewed(&self, _: Item) {}

    async fn waits(&self, _: &str) {
        pending::<()>().await;
    }
}

struct EarlierShop;

impl earlier::Purchases for EarlierShop {
    async fn buy(&self, _: &str, item: earlier::Item) -> earlier::Item {
        item
    }

    async fn viewed(&self, _: earlier::Item) {}
}

/// Connects a client to a server over TCP. Both serve the group.
async fn connected(limits: Limits) -> (Server, Socket, Client) {
    record();
    let server = Server::builder().limits(limits.clone()).serve(PurchasesServer::new(Shop));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = Client::builder().limits(limits).serve(PurchasesServer::new(Shop));
    let client = client.connect(&format!("tcp://{}", server.local_addr())).await.unwrap();
    let socket = server.sockets().remove(0);
    (server, socket, client)
}

fn item() -> Item {
    Item { name: "sword".into(), count: 1 }
}

#[tokio::test]
async fn missing_field_error_names_argument_type_and_peer() {
    let (_server, socket, client) = connected(Limits::default()).await;
    let old = earlier::Item { name: "sword".into() };
    let short = earlier::PurchasesClient::new(&client).buy("shop", old).await.unwrap_err().to_string();
    assert_names(&short, &["argument `item` (Item) of `Purchases/buy` at the server", "versions of the type"]);
    let old = earlier::Item { name: "sword".into() };
    let short = earlier::PurchasesClient::new(&socket).buy("shop", old).await.unwrap_err().to_string();
    assert_names(&short, &["argument `item` (Item) of `Purchases/buy` at the client"]);
    assert_eq!(PurchasesClient::new(&client).buy("shop", item()).await, Ok(item()), "the connection lives");
}

#[tokio::test]
async fn extra_field_error_names_argument_and_remaining_bytes() {
    record();
    let server = Server::builder().serve(earlier::PurchasesServer::new(EarlierShop));
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = Client::builder().connect(&format!("tcp://{}", server.local_addr())).await.unwrap();
    let shop = PurchasesClient::new(&client);
    let long = shop.buy("shop", item()).await.unwrap_err();
    assert_names(&long.to_string(), &["`item`: Item", "`Purchases/buy` at the server", "1 trailing byte", "versions"]);
    shop.viewed(item()).await.unwrap();
    let parts =
        ["WARN", "argument `item` (Item) of `Purchases/viewed` at the server", "peer=client of session", "127.0.0.1"];
    event(&parts).await;
    assert_eq!(server.sockets()[0].stats().undecodable_emits, 1);
    // If a call is made by name, the error cannot name the argument.
    let group = client.group("Purchases");
    let wrong = group.request::<earlier::Item>("buy", &("shop", 1_u8)).await.unwrap_err().to_string();
    assert_names(&wrong, &["`Purchases/buy` at the server"]);
    let reply = group.request::<u8>("buy", &("shop", "sword")).await.unwrap_err().to_string();
    assert_names(&reply, &["cannot decode the reply (u8) of `Purchases/buy` at the client", "trailing byte"]);
}

#[tokio::test]
async fn invalid_argument_error_names_its_position() {
    let (_server, _socket, client) = connected(Limits::default()).await;
    let group = client.group("Purchases");
    let wrong = group.request::<bool>("flag", &(true, 7_u8, "text")).await.unwrap_err().to_string();
    assert_names(&wrong, &["argument `second` (bool) of `Purchases/flag` at the server: invalid boolean 7"]);
}

#[tokio::test]
async fn encode_error_names_argument_type_and_method() {
    let (server, socket, client) = connected(Limits::default()).await;
    let argument = PurchasesClient::new(&client).fragile("name", Fragile).await.unwrap_err();
    assert!(matches!(argument, CallError::Encode(_)));
    assert_names(
        &argument.to_string(),
        &["cannot encode argument `value` (Fragile) of `Purchases/fragile` at the client"],
    );
    let mut replies = PurchasesClient::new(&server.all()).fragile("name", Fragile);
    let (_, reply) = replies.next().await.unwrap();
    assert_names(&reply.unwrap_err().to_string(), &["argument `value` (Fragile) of `Purchases/fragile` at the server"]);
    socket.listen("broken", |(): ()| async { Fragile });
    let reply = client.request::<Fragile>("broken", &()).await.unwrap_err().to_string();
    assert_names(&reply, &["cannot encode the reply", "Fragile", "`broken` at the server"]);
    event(&["WARN", "the reply", "`broken`", "peer=client of session"]).await;
    let emit = client.emit("unheard", &Fragile).await.unwrap_err().to_string();
    assert_names(&emit, &["cannot encode the arguments", "Fragile", "`unheard` at the client"]);
    let login = Client::builder().auth(Fragile).connect_local(&server).await.unwrap_err().to_string();
    assert_names(&login, &["cannot encode the login", "Fragile", "at the client"]);
}

#[tokio::test]
async fn login_decode_error_names_its_type() {
    record();
    let server = Server::builder().authenticate(|_: Item| async { Ok::<_, Refusal>(()) }).build();
    let refused = Client::builder().auth(true).connect_local(&server).await.unwrap_err().to_string();
    assert_names(&refused, &["cannot decode the login", "Item", "at the server"]);
}

#[tokio::test]
async fn login_that_no_server_asks_for_is_reported() {
    record();
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let _client = Client::builder().auth("ada").connect(&url).await.unwrap();
    event(&["DEBUG", "peer=client at 127.0.0.1", "a login is ignored", "`ServerBuilder::authenticate`"]).await;
}

#[tokio::test]
async fn emit_handler_past_its_deadline_is_counted_and_reported() {
    let limits = Limits::new().call_timeout(Duration::from_millis(50));
    let (_server, socket, client) = connected(limits).await;
    PurchasesClient::new(&client).waits("name").await.unwrap();
    eventually("the handler is stopped", || socket.stats().timed_out_emits == 1).await;
    event(&["WARN", "method=\"Purchases/waits\"", "peer=client of session", "side=server", "deadline"]).await;
    PurchasesClient::new(&socket).waits("name").await.unwrap();
    eventually("the handler is stopped", || client.stats().timed_out_emits == 1).await;
    event(&["method=\"Purchases/waits\"", "peer=server", "side=client", "deadline"]).await;
}

#[tokio::test]
async fn cancelled_handler_is_counted_and_reported() {
    let (_server, socket, client) = connected(Limits::default()).await;
    let called = tokio::time::timeout(Duration::from_millis(50), PurchasesClient::new(&client).wait("name")).await;
    assert!(called.is_err());
    eventually("the handler is stopped", || socket.stats().cancelled_handlers == 1).await;
    event(&["method=\"Purchases/wait\"", "peer=client of session", "side=server", "cancelled"]).await;
    let peer = client.as_peer().clone();
    PurchasesClient::new(&socket).waits("name").await.unwrap();
    PurchasesClient::new(&client).waits("name").await.unwrap();
    client.emit("unheard", &()).await.unwrap();
    eventually("both handlers have begun", || socket.stats().unhandled_emits == 1).await;
    client.close().await;
    eventually("the server's handler is stopped", || socket.stats().cancelled_handlers == 2).await;
    eventually("the client's handler is stopped", || peer.stats().cancelled_handlers == 1).await;
    event(&["method=\"Purchases/waits\"", "peer=server", "side=client", "disconnected"]).await;
}

#[tokio::test]
async fn hook_panic_is_reported_with_hook_and_peer() {
    record();
    let server = Server::builder()
        .authenticate(|login: u8| async move {
            assert!(login > 0, "no login");
            Ok::<_, Refusal>(login)
        })
        .connected(|socket: Socket<u8>| async move {
            assert!(*socket.identity() > 1, "not prepared");
            socket.listen("panics", |(): ()| async { assert!(std::thread::panicking(), "not handled") });
            let explosive = PanicsOnDrop("a listener");
            socket.listen("explosive", move |(): ()| {
                let _ = &explosive;
                async {}
            });
            socket.on_disconnect(|_| async { assert!(std::thread::panicking(), "not disconnected") });
        })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let never = || Client::builder().reconnect(sockets::Reconnect::never());
    never().auth(0_u8).connect(&url).await.unwrap_err();
    event(&["ERROR", "hook=\"authenticate\"", "peer=client at 127.0.0.1", "no login"]).await;
    never().auth(1_u8).connect(&url).await.unwrap_err();
    event(&["ERROR", "hook=\"connected\"", "peer=client of session", "at 127.0.0.1", "not prepared"]).await;
    let client = never().auth(2_u8).connect(&url).await.unwrap();
    assert_eq!(client.request::<()>("panics", &()).await, Err(CallError::Panicked));
    event(&["ERROR", "hook=\"handler\"", "method=\"panics\"", "peer=client of session"]).await;
    client.on_disconnect(|_| async { assert!(std::thread::panicking(), "not left") });
    client.close().await;
    event(&["ERROR", "hook=\"drop of a handler\"", "dropped a listener"]).await;
    event(&["ERROR", "hook=\"on_disconnect\"", "peer=client of session", "not disconnected"]).await;
    event(&["ERROR", "hook=\"on_disconnect\"", "peer=server", "not left"]).await;
    let login = never().auth_with(|| async { assert!(std::thread::panicking(), "no words") });
    login.connect(&url).await.unwrap_err();
    event(&["ERROR", "hook=\"auth_with\"", "peer=server", "no words"]).await;
}

#[tokio::test]
async fn errors_of_layers_are_logged() {
    record();
    let fails = || layer_fn(|_| service_fn(|_: Request| ready(Err::<Response, _>(io::Error::other("disk full")))));
    let server = Server::builder().layer(fails()).connected(|socket| async move {
        socket.group("odd").listen("number", |(): ()| async { 1 });
    });
    let server = server.build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    client.group("odd").request::<i32>("number", &()).await.unwrap_err();
    event(&["WARN", "a layer failed a call", "method=\"odd/number\"", "peer=client of", "error=disk full"]).await;

    let fails =
        layer_fn(|_| service_fn(|_: Connecting| ready(Err::<Admission<()>, _>(io::Error::other("no database")))));
    let server = Server::builder().layer_connecting(fails).build();
    Client::builder().connect_local(&server).await.unwrap_err();
    event(&["WARN", "a layer failed an authentication", "peer=client", "error=no database"]).await;
}
