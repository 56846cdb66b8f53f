//! Layers around connections, requests and emits.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{
    CallError, Client, ConnectError, Refusal, Server, Socket,
    layer::{CallService, ConnectService, Connecting, Rejection, Request, Response, layer_fn},
};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[sockets::group("Vault")]
trait Vault {
    async fn open(&self, code: u32) -> Result<String, String>;
    #[emit]
    async fn knock(&self, times: u32);
    async fn wait(&self);
}

/// A handler that reports its calls.
struct Guard(UnboundedSender<String>);

impl Vault for Guard {
    async fn open(&self, code: u32) -> Result<String, String> {
        self.0.send(format!("opened with {code}")).unwrap();
        if code == 7 { Ok("gold".into()) } else { Err("wrong code".into()) }
    }

    async fn knock(&self, times: u32) {
        self.0.send(format!("knocked {times}")).unwrap();
    }

    async fn wait(&self) {
        self.0.send("waits".into()).unwrap();
        pending::<()>().await;
    }
}

/// A layer that reports its calls and their outcomes, and passes the calls on.
struct Spy<S> {
    name: &'static str,
    says: UnboundedSender<String>,
    next: S,
}

impl<S: CallService> CallService for Spy<S> {
    async fn call(&self, request: Request<'_>) -> Response {
        let way = if request.is_outgoing() { "out" } else { "in" };
        let kind = if request.is_emit() { "emit" } else { "request" };
        let (path, method, bytes) = (request.path(), request.method(), request.arguments_len());
        self.says.send(format!("{}: {way} {kind} {path}.{method} of {bytes}", self.name)).unwrap();
        let response = self.next.call(request).await;
        let outcome = if response.is_ok() { "went well" } else { "failed" };
        self.says.send(format!("{}: {outcome} {:?}", self.name, response.error())).unwrap();
        response
    }
}

fn spy<S>(name: &'static str, says: &UnboundedSender<String>) -> impl Fn(S) -> Spy<S> + Send + Sync + 'static {
    let says = says.clone();
    move |next| Spy { name, says: says.clone(), next }
}

/// A layer that passes on the requests that `allows` accepts.
struct Filter<S, F> {
    allows: F,
    next: S,
}

impl<S, F> CallService for Filter<S, F>
where
    S: CallService,
    F: Fn(&Request<'_>) -> bool + Send + Sync + 'static,
{
    async fn call(&self, request: Request<'_>) -> Response {
        if (self.allows)(&request) { self.next.call(request).await } else { request.deny() }
    }
}

fn filter<S, F>(allows: F) -> impl Fn(S) -> Filter<S, F> + Send + Sync + 'static
where
    F: Fn(&Request<'_>) -> bool + Clone + Send + Sync + 'static,
{
    move |next| Filter { allows: allows.clone(), next }
}

async fn said(said: &mut UnboundedReceiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(said.recv().await.unwrap(), *expected);
    }
}

tcp_and_memory! {
    async fn first_layer_is_the_outermost_in_both_directions(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let server = Server::builder().layer(layer_fn(spy("a", &says))).layer(layer_fn(spy("b", &says)));
        let server = net.serve(server.serve(VaultServer::new(Guard(says.clone())))).await;
        let builder = Client::builder().layer_outgoing(layer_fn(spy("c", &says))).layer_outgoing(layer_fn(spy("d", &says)));
        let client = net.connect(&server, builder).await;
        let vault = VaultClient::new(&client);

        assert_eq!(vault.open(7).await, Ok("gold".into()));
        let way = ["c: out request Vault.open of 1", "d: out request Vault.open of 1",
            "a: in request Vault.open of 1", "b: in request Vault.open of 1", "opened with 7",
            "b: went well None", "a: went well None", "d: went well None", "c: went well None"];
        said(&mut received, &way).await;

        // If a handler returns an error, the layer sees a reply like any other.
        assert_eq!(vault.open(8).await, Err(CallError::Handler("wrong code".into())));
        said(&mut received, &way.map(|line| if line.starts_with("opened") { "opened with 8" } else { line })).await;

        let error = client.request::<u32>("nobody", &()).await.unwrap_err();
        assert_eq!(error, CallError::NoSuchMethod);
        said(&mut received, &["c: out request .nobody of 0", "d: out request .nobody of 0",
            "d: failed Some(NoSuchMethod)", "c: failed Some(NoSuchMethod)"]).await;
    }

    async fn emit_passes_the_layers_of_both_peers(net: Transport) {
        let (says, mut out) = unbounded_channel();
        let client_says = says;
        let (says, mut inside) = unbounded_channel();
        let server = Server::builder().layer(layer_fn(spy("server", &says)));
        let server = net.serve(server.serve(VaultServer::new(Guard(says)))).await;
        let client = net.connect(&server, Client::builder().layer_outgoing(layer_fn(spy("client", &client_says)))).await;
        VaultClient::new(&client).knock(3).await.unwrap();
        said(&mut out, &["client: out emit Vault.knock of 1", "client: went well None"]).await;
        said(&mut inside, &["server: in emit Vault.knock of 1", "knocked 3", "server: went well None"]).await;
    }

    async fn server_request_passes_the_layers_of_both_peers(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let server = net.serve(players().layer_outgoing(layer_fn(spy("server", &says)))).await;
        let builder = Client::builder().layer(layer_fn(spy("client", &says))).serve(VaultServer::new(Guard(says.clone())));
        let _client = net.join(&server, "ada", builder).await;
        let socket = server.socket(&Player::new("ada")).unwrap();
        assert_eq!(VaultClient::new(&socket).open(7).await, Ok("gold".into()));
        said(&mut received, &["server: out request Vault.open of 1", "client: in request Vault.open of 1", "opened with 7",
            "client: went well None", "server: went well None"]).await;
    }

    async fn broadcast_passes_layers_once_without_a_peer(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let (watched, audience) = (says.clone(), |request: &Request<'_>| request.peer().is_none());
        let server = players().layer_outgoing(layer_fn(spy("server", &watched))).layer_outgoing(layer_fn(filter(audience)));
        let server = net.serve(server).await;
        let mut members = Vec::new();
        for name in ["ada", "ben"] {
            let builder = Client::builder().serve(VaultServer::new(Guard(says.clone())));
            members.push(net.join(&server, name, builder).await);
        }
        VaultClient::new(&server.all()).knock(2).await.unwrap();
        said(&mut received, &["server: out emit Vault.knock of 1"]).await;
        let mut rest = [received.recv().await.unwrap(), received.recv().await.unwrap(), received.recv().await.unwrap()];
        rest.sort();
        assert_eq!(rest, ["knocked 2", "knocked 2", "server: went well None"]);

        let socket = server.socket(&Player::new("ada")).unwrap();
        assert_eq!(VaultClient::new(&socket).knock(1).await, Err(CallError::Denied));
    }

    async fn denied_incoming_call_reaches_no_handler(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let allows = |request: &Request<'_>| {
            let socket: Socket<Player> = request.socket().unwrap();
            request.path() != "Vault" || *socket.identity() == Player::new("ada")
        };
        let server = players().layer(layer_fn(filter(allows)));
        let server = net.serve(server.serve(VaultServer::new(Guard(says)))).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let ben = net.join(&server, "ben", Client::builder()).await;

        VaultClient::new(&ben).knock(9).await.unwrap();
        assert_eq!(VaultClient::new(&ben).open(7).await, Err(CallError::Denied));
        assert_eq!(VaultClient::new(&ada).open(7).await, Ok("gold".into()));
        said(&mut received, &["opened with 7"]).await;
        assert!(received.try_recv().is_err());
    }

    async fn layers_wrap_listeners_and_groups_of_a_socket(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let allows = |request: &Request<'_>| (request.path(), request.method()) != ("secret", "number");
        let server = players().layer(layer_fn(filter(allows))).connected(move |socket: Socket<Player>| {
            let says = says.clone();
            async move {
                socket.listen("number", |(): ()| async { 5 });
                socket.group("secret").set_callback("number", |(): ()| async { 6 });
                socket.serve(VaultServer::new(Guard(says)));
            }
        });
        let server = net.serve(server).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(client.request::<i32>("number", &()).await, Ok(5));
        assert_eq!(client.group("secret").request::<i32>("number", &()).await, Err(CallError::Denied));
        assert_eq!(VaultClient::new(&client).open(7).await, Ok("gold".into()));
        said(&mut received, &["opened with 7"]).await;
    }

    async fn denied_outgoing_call_is_not_sent(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let server = net.serve(Server::builder().serve(VaultServer::new(Guard(says)))).await;
        let allows = |request: &Request<'_>| request.method() != "knock";
        let client = net.connect(&server, Client::builder().layer_outgoing(layer_fn(filter(allows)))).await;
        let vault = VaultClient::new(&client);
        assert_eq!(vault.knock(1).await, Err(CallError::Denied));
        assert_eq!(vault.open(7).await, Ok("gold".into()));
        said(&mut received, &["opened with 7"]).await;
    }

    async fn layer_panic_fails_only_its_call(net: Transport) {
        let (says, _heard) = unbounded_channel();
        let panics = |request: &Request<'_>| {
            assert!(request.method() != "wait", "a layer's bug");
            true
        };
        let server = Server::builder().layer(layer_fn(filter(panics)));
        let server = net.serve(server.serve(VaultServer::new(Guard(says)))).await;
        let client = net.connect(&server, Client::builder()).await;
        let vault = VaultClient::new(&client);
        assert_eq!(vault.wait().await, Err(CallError::Panicked));
        assert_eq!(vault.open(7).await, Ok("gold".into()));
    }

    async fn cancelled_call_drops_its_layers(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let held = Arc::new(());
        let server = Server::builder().layer(layer_fn({
            let held = Arc::clone(&held);
            move |next| Holding { held: Arc::clone(&held), next }
        }));
        let server = net.serve(server.serve(VaultServer::new(Guard(says)))).await;
        let client = net.connect(&server, Client::builder()).await;
        let call = tokio::spawn({
            let vault = VaultClient::new(&client);
            async move { vault.wait().await }
        });
        said(&mut received, &["waits"]).await;
        let while_it_runs = Arc::strong_count(&held);
        call.abort();
        eventually("the layer has ended", || Arc::strong_count(&held) < while_it_runs).await;
    }

    async fn layer_that_never_continues_ends_at_the_deadline(net: Transport) {
        let (says, mut received) = unbounded_channel();
        let server = net.serve(Server::builder().layer(layer_fn(|_| Never)).serve(VaultServer::new(Guard(says)))).await;
        let soon = Duration::from_millis(50);
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(VaultClient::new(&client).with_timeout(soon).open(7).await, Err(CallError::Timeout));
        let client = net.connect(&server, Client::builder().layer_outgoing(layer_fn(|_| Never))).await;
        assert_eq!(VaultClient::new(&client).with_timeout(soon).open(7).await, Err(CallError::Timeout));
        assert!(received.try_recv().is_err());
    }

    async fn connecting_layer_may_refuse_with_a_message(net: Transport) {
        let (seen, welcomed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let layer = layer_fn({
            let (seen, welcomed) = (Arc::clone(&seen), Arc::clone(&welcomed));
            move |next| Doorman { seen: Arc::clone(&seen), welcomed: Arc::clone(&welcomed), next }
        });
        let server = net.serve(players().layer_connecting(layer)).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let refused = net.try_connect(&server, Client::builder().auth(Login::new("ben"))).await;
        assert!(matches!(&refused, Err(ConnectError::Refused(refusal)) if refusal.message() == "not you"), "{refused:?}");
        assert_eq!((seen.load(Ordering::Relaxed), welcomed.load(Ordering::Relaxed)), (2, 1));
        assert!(ada.is_connected());
        assert_eq!(server.sockets().len(), 1);
    }
}

/// A layer that holds a value while a call runs.
struct Holding<S> {
    held: Arc<()>,
    next: S,
}

impl<S: CallService> CallService for Holding<S> {
    async fn call(&self, request: Request<'_>) -> Response {
        let _held = Arc::clone(&self.held);
        self.next.call(request).await
    }
}

struct Never;

impl CallService for Never {
    async fn call(&self, _request: Request<'_>) -> Response {
        pending().await
    }
}

/// A layer that counts clients, and refuses the player Ben.
struct Doorman<S> {
    seen: Arc<AtomicUsize>,
    welcomed: Arc<AtomicUsize>,
    next: S,
}

impl<S: ConnectService<Player>> ConnectService<Player> for Doorman<S> {
    async fn connect(&self, connecting: Connecting) -> Result<Player, Rejection> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        assert!(!connecting.handshake().transport.is_empty() && !connecting.login().is_empty());
        let player = self.next.connect(connecting).await?;
        if player == Player::new("ben") {
            return Err(Refusal::new("not you").into());
        }
        self.welcomed.fetch_add(1, Ordering::Relaxed);
        Ok(player)
    }
}

#[test]
#[should_panic(expected = "`authenticate` was called after `layer_connecting`")]
fn connecting_layer_before_authenticate_panics() {
    struct Open<S>(S);
    impl<S: ConnectService<()>> ConnectService<()> for Open<S> {
        async fn connect(&self, connecting: Connecting) -> Result<(), Rejection> {
            self.0.connect(connecting).await
        }
    }
    let _ = Server::builder().layer_connecting(layer_fn(Open)).authenticate(|login: u32| async move { Ok(login) });
}
