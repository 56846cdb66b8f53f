//! Layers around connections, requests and emits.

use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{
    Admission, CallError, Client, ConnectError, Refusal, Server, Socket,
    layer::{Authentication, CallLayer, Connecting, Layer, Next, Request, Response, Service, authorize, layer_fn},
};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{BoxError, service_fn};

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
fn spy(name: &'static str, log: &UnboundedSender<String>) -> impl CallLayer + use<> {
    let log = log.clone();
    layer_fn(move |next: Next| {
        let log = log.clone();
        service_fn(move |request: Request| {
            let (log, mut next) = (log.clone(), next.clone());
            async move {
                let way = if request.is_outgoing() { "out" } else { "in" };
                let kind = if request.is_emit() { "emit" } else { "request" };
                let (path, method, bytes) = (request.path(), request.method(), request.arguments_len());
                log.send(format!("{name}: {way} {kind} {path}.{method} of {bytes}")).unwrap();
                let response = next.call(request).await?;
                let outcome = if response.is_ok() { "went well" } else { "failed" };
                log.send(format!("{name}: {outcome} {:?}", response.error())).unwrap();
                Ok::<_, Infallible>(response)
            }
        })
    })
}

/// A layer that passes on the requests that `allows` accepts.
fn filter(allows: impl Fn(&Request) -> bool + Clone + Send + Sync + 'static) -> impl CallLayer {
    authorize(move |request: &Request| if allows(request) { Ok(()) } else { Err("not allowed") })
}

async fn expect(lines: &mut UnboundedReceiver<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(lines.recv().await.unwrap(), *expected);
    }
}

tcp_and_memory! {
    async fn layer_added_last_is_the_outermost(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let server = Server::builder().layer(spy("b", &log)).layer(spy("a", &log));
        let server = net.serve(server.serve(VaultServer::new(Guard(log.clone())))).await;
        let builder = Client::builder().layer_outgoing(spy("d", &log)).layer_outgoing(spy("c", &log));
        let client = net.connect(&server, builder).await;
        let vault = VaultClient::new(&client);

        assert_eq!(vault.open(7).await, Ok("gold".into()));
        let way = ["c: out request Vault.open of 1", "d: out request Vault.open of 1",
            "a: in request Vault.open of 1", "b: in request Vault.open of 1", "opened with 7",
            "b: went well None", "a: went well None", "d: went well None", "c: went well None"];
        expect(&mut received, &way).await;

        // If a handler returns an error, the layer sees a reply like any other.
        assert_eq!(vault.open(8).await, Err(CallError::Handler("wrong code".into())));
        expect(&mut received, &way.map(|line| if line.starts_with("opened") { "opened with 8" } else { line })).await;

        let error = client.request::<u32>("unhandled", &()).await.unwrap_err();
        assert_eq!(error, CallError::NoSuchMethod);
        expect(&mut received, &["c: out request .unhandled of 0", "d: out request .unhandled of 0",
            "d: failed Some(NoSuchMethod)", "c: failed Some(NoSuchMethod)"]).await;
    }

    async fn emit_passes_the_layers_of_both_peers(net: Transport) {
        let (log, mut out) = unbounded_channel();
        let client_log = log;
        let (log, mut inside) = unbounded_channel();
        let server = Server::builder().layer(spy("server", &log));
        let server = net.serve(server.serve(VaultServer::new(Guard(log)))).await;
        let client = net.connect(&server, Client::builder().layer_outgoing(spy("client", &client_log))).await;
        VaultClient::new(&client).knock(3).await.unwrap();
        expect(&mut out, &["client: out emit Vault.knock of 1", "client: went well None"]).await;
        expect(&mut inside, &["server: in emit Vault.knock of 1", "knocked 3", "server: went well None"]).await;
    }

    async fn server_request_passes_the_layers_of_both_peers(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let server = net.serve(players().layer_outgoing(spy("server", &log))).await;
        let builder = Client::builder().layer(spy("client", &log)).serve(VaultServer::new(Guard(log.clone())));
        let _client = net.join(&server, "ada", builder).await;
        let socket = server.socket("ada").unwrap();
        assert_eq!(VaultClient::new(&socket).open(7).await, Ok("gold".into()));
        expect(&mut received, &["server: out request Vault.open of 1", "client: in request Vault.open of 1",
            "opened with 7", "client: went well None", "server: went well None"]).await;
    }

    async fn broadcast_passes_layers_once_without_a_peer(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let (watched, audience) = (log.clone(), |request: &Request| request.peer().is_none());
        let server = players().layer_outgoing(filter(audience)).layer_outgoing(spy("server", &watched));
        let server = net.serve(server).await;
        let mut members = Vec::new();
        for name in ["ada", "ben"] {
            let builder = Client::builder().serve(VaultServer::new(Guard(log.clone())));
            members.push(net.join(&server, name, builder).await);
        }
        VaultClient::new(&server.all()).knock(2).await.unwrap();
        expect(&mut received, &["server: out emit Vault.knock of 1"]).await;
        let mut rest = [received.recv().await.unwrap(), received.recv().await.unwrap(), received.recv().await.unwrap()];
        rest.sort();
        assert_eq!(rest, ["knocked 2", "knocked 2", "server: went well None"]);

        let socket = server.socket("ada").unwrap();
        assert_eq!(VaultClient::new(&socket).knock(1).await, Err(CallError::Denied("not allowed".into())));
    }

    async fn denied_incoming_call_reaches_no_handler(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let allows = |request: &Request| {
            let socket: Socket<Player> = request.socket().unwrap();
            request.path() != "Vault" || *socket.identity() == Player::new("ada")
        };
        let server = players().layer(filter(allows));
        let server = net.serve(server.serve(VaultServer::new(Guard(log)))).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let ben = net.join(&server, "ben", Client::builder()).await;

        VaultClient::new(&ben).knock(9).await.unwrap();
        assert_eq!(VaultClient::new(&ben).open(7).await, Err(CallError::Denied("not allowed".into())));
        assert_eq!(VaultClient::new(&ada).open(7).await, Ok("gold".into()));
        expect(&mut received, &["opened with 7"]).await;
        assert!(received.try_recv().is_err());
    }

    async fn layers_wrap_listeners_and_groups_of_a_socket(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let allows = |request: &Request| (request.path(), request.method()) != ("secret", "number");
        let server = players().layer(filter(allows)).connected(move |socket: Socket<Player>| {
            let log = log.clone();
            async move {
                socket.listen("number", |(): ()| async { 5 });
                socket.group("secret").set_callback("number", |(): ()| async { 6 });
                socket.serve(VaultServer::new(Guard(log)));
            }
        });
        let server = net.serve(server).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(client.request::<i32>("number", &()).await, Ok(5));
        assert_eq!(client.group("secret").request::<i32>("number", &()).await, Err(CallError::Denied("not allowed".into())));
        assert_eq!(VaultClient::new(&client).open(7).await, Ok("gold".into()));
        expect(&mut received, &["opened with 7"]).await;
    }

    async fn denied_outgoing_call_is_not_sent(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let server = net.serve(Server::builder().serve(VaultServer::new(Guard(log)))).await;
        let allows = |request: &Request| request.method() != "knock";
        let client = net.connect(&server, Client::builder().layer_outgoing(filter(allows))).await;
        let vault = VaultClient::new(&client);
        assert_eq!(vault.knock(1).await, Err(CallError::Denied("not allowed".into())));
        assert_eq!(vault.open(7).await, Ok("gold".into()));
        expect(&mut received, &["opened with 7"]).await;
    }

    async fn layer_panic_fails_only_its_call(net: Transport) {
        let (log, _received) = unbounded_channel();
        let panics = |request: &Request| {
            assert!(request.method() != "wait", "a layer's bug");
            true
        };
        let server = Server::builder().layer(filter(panics));
        let server = net.serve(server.serve(VaultServer::new(Guard(log)))).await;
        let client = net.connect(&server, Client::builder()).await;
        let vault = VaultClient::new(&client);
        assert_eq!(vault.wait().await, Err(CallError::Panicked));
        assert_eq!(vault.open(7).await, Ok("gold".into()));
    }

    async fn cancelled_call_drops_its_layers(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let held = Arc::new(());
        let holding = Arc::clone(&held);
        let server = Server::builder().layer(layer_fn(move |next: Next| {
            let held = Arc::clone(&holding);
            service_fn(move |request| {
                let (mut next, held) = (next.clone(), Arc::clone(&held));
                async move {
                    let response = next.call(request).await;
                    drop(held);
                    response
                }
            })
        }));
        let server = net.serve(server.serve(VaultServer::new(Guard(log)))).await;
        let client = net.connect(&server, Client::builder()).await;
        let call = tokio::spawn({
            let vault = VaultClient::new(&client);
            async move { vault.wait().await }
        });
        expect(&mut received, &["waits"]).await;
        let while_it_runs = Arc::strong_count(&held);
        call.abort();
        eventually("the layer has ended", || Arc::strong_count(&held) < while_it_runs).await;
    }

    async fn layer_that_never_continues_ends_at_the_deadline(net: Transport) {
        let (log, mut received) = unbounded_channel();
        let server = net.serve(Server::builder().layer(never()).serve(VaultServer::new(Guard(log)))).await;
        let soon = Duration::from_millis(50);
        let client = net.connect(&server, Client::builder()).await;
        assert_eq!(VaultClient::new(&client).with_timeout(soon).open(7).await, Err(CallError::Timeout));
        let client = net.connect(&server, Client::builder().layer_outgoing(never())).await;
        assert_eq!(VaultClient::new(&client).with_timeout(soon).open(7).await, Err(CallError::Timeout));
        assert!(received.try_recv().is_err());
    }

    async fn connecting_layer_may_refuse_with_a_message(net: Transport) {
        let (seen, welcomed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = net.serve(players().layer_connecting(doorman(&seen, &welcomed))).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let refused = net.try_connect(&server, Client::builder().auth(Login::new("ben"))).await;
        assert_eq!(refused.unwrap_err().to_string(), ConnectError::Refused(Refusal::new("not you")).to_string());
        assert_eq!((seen.load(Ordering::Relaxed), welcomed.load(Ordering::Relaxed)), (2, 1));
        assert!(ada.is_connected());
        assert_eq!(server.sockets().len(), 1);
    }

    async fn error_of_a_connecting_layer_is_hidden(net: Transport) {
        let layer = layer_fn(|_| service_fn(|_: Connecting| ready(Err::<Admission<Player>, _>(io::Error::other("secret")))));
        let server = net.serve(players().layer_connecting(layer)).await;
        let refused = net.try_connect(&server, Client::builder().auth(Login::new("ada"))).await;
        let general = Refusal::retry("the server failed to authenticate the client");
        assert!(matches!(&refused, Err(ConnectError::Refused(refusal)) if *refusal == general), "{refused:?}");
    }

    async fn undecodable_login_passes_connecting_layers(net: Transport) {
        let (seen, welcomed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = net.serve(players().layer_connecting(doorman(&seen, &welcomed))).await;
        let refused = net.try_connect(&server, Client::builder().auth(())).await;
        let plain = net.serve(players()).await;
        let expected = net.try_connect(&plain, Client::builder().auth(())).await;
        assert_eq!(refused.unwrap_err().to_string(), expected.unwrap_err().to_string());
        assert_eq!((seen.load(Ordering::Relaxed), welcomed.load(Ordering::Relaxed)), (1, 0));
    }
}

/// A layer that never responds.
fn never() -> impl CallLayer {
    layer_fn(|_| service_fn(|_: Request| pending::<Result<Response, Infallible>>()))
}

/// A layer that counts clients, and refuses the player Ben.
fn doorman(
    seen: &Arc<AtomicUsize>,
    welcomed: &Arc<AtomicUsize>,
) -> impl Layer<
    Authentication<Player>,
    Service: Service<Connecting, Response = Admission<Player>, Error = BoxError, Future: Send>
                 + Clone
                 + Send
                 + Sync
                 + 'static,
>
+ Send
+ Sync
+ 'static
+ use<> {
    let (seen, welcomed) = (Arc::clone(seen), Arc::clone(welcomed));
    layer_fn(move |next: Authentication<Player>| {
        let (seen, welcomed) = (Arc::clone(&seen), Arc::clone(&welcomed));
        service_fn(move |connecting: Connecting| {
            let (welcomed, mut next) = (Arc::clone(&welcomed), next.clone());
            seen.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(!connecting.info().transport().is_empty());
                let admission = next.call(connecting).await?;
                if *admission.identity() == Player::new("ben") {
                    return Err(Refusal::new("not you").into());
                }
                welcomed.fetch_add(1, Ordering::Relaxed);
                Ok(admission)
            }
        })
    })
}
