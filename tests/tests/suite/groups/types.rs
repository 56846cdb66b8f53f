//! Traits that the public types implement, and the types of calls.

use std::{convert::Infallible, error::Error, future::Future, hash::Hash, sync::Arc, time::Duration};

use futures_util::Stream;
use sockets::{
    Audience, Call, CallError, Client, ClientBuilder, ConnectError, ConnectInfo, DisconnectReason, Group, Limits,
    Listener, Member, Peer, Refusal, Replies, Server, ServerBuilder, Socket,
};
use sockets_tests::*;

fn handle<T: Clone + Send + Sync + Unpin + 'static>() {}
fn movable<T: Send + 'static>() {}
fn replies<S: Stream<Item = (Member<Player>, Result<T, CallError<E>>)> + Unpin + Send + 'static, T, E>() {}
fn error<T: Error + Send + Sync + 'static>() {}
fn sent<F: Future + Send>(future: F) -> F {
    future
}

#[test]
fn handles_are_clone_send_and_sync() {
    handle::<Client>();
    handle::<Server>();
    handle::<Server<Player>>();
    handle::<Socket>();
    handle::<Socket<Player>>();
    handle::<Peer>();
    handle::<Member>();
    handle::<Member<Player>>();
    handle::<Audience>();
    handle::<Audience<Player>>();
    handle::<Group>();
    handle::<Group<Audience<Player>>>();
    handle::<Listener>();
    handle::<Limits>();
    handle::<DisconnectReason>();
    handle::<PurchasesClient>();
    handle::<PurchasesClient<Peer>>();
    handle::<PurchasesClient<Audience<Player>>>();
    handle::<LobbyClient<Audience>>();
    movable::<ServerBuilder<Player>>();
    movable::<ClientBuilder>();
    movable::<PurchasesServer<Shop>>();
    movable::<ConnectInfo>();
}

#[test]
fn replies_are_a_stream_and_unpin() {
    replies::<Replies<Player, String>, String, Infallible>();
    replies::<Replies<Player, Receipt, PurchaseError>, Receipt, PurchaseError>();
}

#[test]
fn errors_implement_error() {
    error::<CallError>();
    error::<CallError<PurchaseError>>();
    error::<ConnectError>();
}

#[test]
fn socket_implements_eq_and_hash() {
    fn kept<T: Eq + Hash>() {}
    kept::<Socket<Player>>();
}

#[test]
fn generated_traits_are_send_and_sync() {
    fn shared<T: Send + Sync + 'static>() {}
    fn through_the_trait<T: Purchases>() {
        shared::<T>();
    }
    through_the_trait::<Shop>();
}

#[test]
fn futures_of_a_trait_are_send() {
    fn spawnable<T: Purchases>(handler: Arc<T>) -> impl Future<Output = Option<u32>> + Send + 'static {
        sent(async move { handler.get_price("sword").await })
    }
    drop(spawnable(Arc::new(Shop::unwatched())));
}

/// Is never called. The test is that this function compiles.
#[allow(dead_code, reason = "only the types matter")]
fn the_futures_of_stubs_are_send(client: &Client, server: &Server<Player>, call: &Call) {
    let purchases = PurchasesClient::new(client);
    let price = sent(purchases.get_price("sword"));
    let bought = sent(purchases.buy("sword", 1));
    let viewed = sent(purchases.viewed("sword"));
    drop((price, bought, viewed));

    let lobby = LobbyClient::new(&server.all());
    let message = sent(lobby.message("hello"));
    let asked: Replies<Player, String> = lobby.vote(Vec::new());
    let mut asked_too = lobby.vote(Vec::new());
    let next = sent(asked_too.next());
    drop((message, asked, next));

    let everyone: Replies<Player, Receipt, PurchaseError> = PurchasesClient::new(&server.all()).buy("sword", 1);
    drop(everyone);
    drop(sent(client.emit("name", &(1, "two"))));
    drop(sent(client.emit("name", "one alone")));
    drop(sent(client.request::<u32>("name", &1)));
    drop(sent(client.disconnected()));
    drop(sent(server.shutdown()));
    drop(sent(call.peer().emit("name", &())));
    drop(sent(Server::builder().bind("tcp://127.0.0.1:0")));
    drop(sent(Client::builder().connect("tcp://127.0.0.1:0")));
}

/// Is never called. The test is that a call to each kind of target has the expected result type.
#[allow(dead_code, reason = "only the types matter")]
async fn the_target_decides_what_a_request_gives(
    client: &Client,
    socket: &Socket<Player>,
    peer: &Peer,
    audience: &Audience<Player>,
) {
    let price: Result<Option<u32>, CallError> = PurchasesClient::new(client).get_price("sword").await;
    let bought: Result<Receipt, CallError<PurchaseError>> = PurchasesClient::new(socket).buy("sword", 1).await;
    let refunded: Result<(), CallError<PurchaseError>> = RefundsClient::new(peer).refund(bought.unwrap()).await;
    let viewed: Result<(), CallError> = PurchasesClient::new(peer).viewed("sword").await;
    let asked: Replies<Player, Option<u32>> = PurchasesClient::new(audience).get_price("sword");
    let emitted: Result<(), CallError> = PurchasesClient::new(audience).viewed("sword").await;
    drop((price, refunded, viewed, asked, emitted));
}

/// A field may hold a stub. If the stub calls a peer, the type of the field needs no parameter.
#[allow(dead_code, reason = "only the types matter")]
struct Fields {
    purchases: PurchasesClient,
    lobby: LobbyClient<Audience<Player>>,
    server: Server<Player>,
    group: Group,
}

#[allow(dead_code, reason = "only the types matter")]
fn stubs_in_fields(client: &Client, socket: &Socket<Player>, server: &Server<Player>) -> [Fields; 2] {
    let fields = |purchases| Fields {
        purchases,
        lobby: LobbyClient::new(&server.room("lobby")).with_timeout(Duration::from_secs(1)),
        server: server.clone(),
        group: client.group("Purchases").group("Refunds"),
    };
    [fields(PurchasesClient::new(client)), fields(PurchasesClient::new(socket))]
}

/// In a function that returns boxed errors, `?` converts the errors of calls.
#[allow(dead_code, reason = "only the types matter")]
async fn errors_go_through_the_question_mark(client: &Client) -> Result<Receipt, Box<dyn Error + Send + Sync>> {
    PurchasesClient::new(client).viewed("sword").await?;
    Ok(PurchasesClient::new(client).buy("sword", 1).await?)
}

#[test]
fn call_error_displays_its_cause() {
    let error: CallError<PurchaseError> = CallError::Handler(PurchaseError::SoldOut);
    assert_eq!(error.to_string(), PurchaseError::SoldOut.to_string());
    assert!(error.source().is_none(), "a handler's error ends the chain");
    let text: Box<dyn Error> = Box::new(CallError::Handler("sold out".to_owned()));
    assert_eq!(text.to_string(), "sold out");
    let reason = DisconnectReason::Kicked("be nice".into());
    let lost = CallError::Disconnected { maybe_executed: false, reason: reason.clone() };
    assert_eq!(lost.source().and_then(|source| source.downcast_ref()), Some(&reason));
    assert_eq!(lost.clone().widen::<PurchaseError>().to_string(), lost.to_string());
    for error in [CallError::<Infallible>::Timeout, CallError::NoSuchMethod, CallError::Overloaded] {
        assert!(error.to_string().len() > 5, "{error:?}");
    }
    assert!(!CallError::<Infallible>::ShuttingDown.to_string().is_empty());
    assert!(!CallError::<Infallible>::Panicked.to_string().is_empty());
}

#[test]
fn refusal_displays_its_message() {
    assert_eq!(Refusal::new("not you").message(), "not you");
    assert_eq!(Refusal::new(String::from("nor you")).message(), "nor you");
    assert!(ConnectError::Refused(Refusal::new("not you")).to_string().contains("not you"));
}
