//! Groups with one handler per socket.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sockets::{
    CallError, Client, ConnectError, Refusal, Server, ServerBuilder, Socket, layer::authorize, test_util::Link,
};
use sockets_tests::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[sockets::group("Account")]
trait Account {
    async fn name(&self) -> String;
    /// Returns the sum of all amounts of this session.
    async fn pay(&self, amount: u32) -> u32;
    async fn wait(&self);
    #[emit]
    async fn noted(&self, text: &str);
}

/// The handler of a player, which refers to its socket.
struct Holder {
    socket: Socket<Player>,
    paid: AtomicU32,
    notes: UnboundedSender<String>,
    /// Counts the handlers.
    _alive: Arc<()>,
}

impl Account for Holder {
    async fn name(&self) -> String {
        self.socket.identity().name.clone()
    }

    async fn pay(&self, amount: u32) -> u32 {
        self.paid.fetch_add(amount, Ordering::Relaxed) + amount
    }

    async fn wait(&self) {
        std::future::pending::<()>().await;
    }

    async fn noted(&self, text: &str) {
        self.notes.send(format!("{}: {text}", self.socket.identity().name)).unwrap();
    }
}

/// The handlers that a server has created.
struct Handlers {
    created: Arc<AtomicU32>,
    alive: Weak<()>,
    notes: UnboundedReceiver<String>,
}

impl Handlers {
    /// Serves `Account` with one handler per socket.
    fn of(builder: ServerBuilder<Player>) -> (ServerBuilder<Player>, Self) {
        let (created, alive) = (Arc::new(AtomicU32::new(0)), Arc::new(()));
        let (notes, noted) = unbounded_channel();
        let handlers = Self { created: Arc::clone(&created), alive: Arc::downgrade(&alive), notes: noted };
        let builder = builder.serve_each(move |socket: &Socket<Player>| {
            created.fetch_add(1, Ordering::Relaxed);
            AccountServer::new(Holder {
                socket: socket.clone(),
                paid: AtomicU32::new(0),
                notes: notes.clone(),
                _alive: Arc::clone(&alive),
            })
        });
        (builder, handlers)
    }

    fn created(&self) -> u32 {
        self.created.load(Ordering::Relaxed)
    }

    /// Waits until only `count` handlers exist.
    async fn until_alive(&self, count: usize) {
        // The factory holds the value, too.
        eventually("the other handlers are dropped", || self.alive.strong_count() == count + 1).await;
    }
}

every_transport! {
    async fn sockets_have_their_own_handlers(net: Transport) {
        let (builder, mut handlers) = Handlers::of(players());
        let server = net.serve(builder).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        let (ada, bob) = (AccountClient::new(&ada), AccountClient::new(&bob));
        assert_eq!((ada.name().await, bob.name().await), (Ok("ada".into()), Ok("bob".into())));
        assert_eq!((ada.pay(1).await, bob.pay(10).await), (Ok(1), Ok(10)));
        assert_eq!((ada.pay(2).await, bob.pay(20).await), (Ok(3), Ok(30)));
        bob.noted("hello").await.unwrap();
        assert_eq!(handlers.notes.recv().await.unwrap(), "bob: hello");
        assert_eq!(handlers.created(), 2);
    }
}

tcp_and_memory! {
    async fn handlers_are_created_in_order_before_connected(net: Transport) {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let step = |name| {
            let steps = Arc::clone(&steps);
            move || steps.lock().unwrap().push(name)
        };
        let (first, second, third) = (step("purchases"), step("refunds"), step("connected"));
        let builder = players().connected(move |_| {
            third();
            async {}
        });
        let builder = builder.serve_each(move |_| {
            first();
            PurchasesServer::new(Shop::unwatched())
        });
        let server = net.serve(builder.serve_each(move |_| {
            second();
            RefundsServer::new(Desk)
        })).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(*steps.lock().unwrap(), ["purchases", "refunds", "connected"]);
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
    }

    async fn calls_during_connected_wait_for_the_handler(net: Transport) {
        let (builder, _handlers) = Handlers::of(players());
        let server = net.serve(builder.connected(|socket: Socket<Player>| async move {
            assert_eq!(socket.request::<()>("begin", &()).await, Ok(()));
        })).await;
        let (asked, answer) = tokio::sync::oneshot::channel();
        let client = Client::builder().first_session(|peer| async move {
            peer.listen("begin", |(): ()| async {});
            asked.send(AccountClient::new(&peer).name().await).unwrap();
        });
        let _client = net.join(&server, "ada", client).await;
        assert_eq!(answer.await.unwrap(), Ok("ada".into()));
    }

    async fn panic_of_the_factory_is_a_retry(net: Transport) {
        let sessions = AtomicU32::new(0);
        let server = net.serve(players().serve_each(move |_: &Socket<Player>| {
            assert!(sessions.fetch_add(1, Ordering::Relaxed) > 0, "the test requests a panic");
            PurchasesServer::new(Shop::unwatched())
        })).await;
        let outcome = within(net.try_connect(&server, Client::builder().auth(Login::new("ada")))).await;
        let Err(ConnectError::Refused(refusal)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal.retry_after(), Some(Duration::ZERO));
        let client = net.join(&server, "ada", Client::builder()).await;
        assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
    }

    async fn end_of_the_session_drops_its_handler(net: Transport) {
        let (builder, handlers) = Handlers::of(players());
        let server = net.serve(builder).await;
        let ada = net.join(&server, "ada", once()).await;
        let bob = net.join(&server, "bob", once()).await;
        let cem = net.join(&server, "cem", once()).await;
        AccountClient::new(&ada).pay(1).await.unwrap();
        let waiting = AccountClient::new(&bob);
        let waiting = tokio::spawn(async move { waiting.wait().await });
        AccountClient::new(&bob).pay(1).await.unwrap();
        assert_eq!(handlers.alive.strong_count(), 4);

        drop(ada);
        handlers.until_alive(2).await;
        let socket = server.socket("bob").unwrap();
        socket.disconnect("goodbye");
        handlers.until_alive(1).await;
        waiting.await.unwrap().unwrap_err();

        drop(server);
        assert!(is_restart(&cem.disconnected().await));
        handlers.until_alive(0).await;
        // The handle of the socket keeps the server's state.
        drop(socket);
        eventually("the factory is dropped", || handlers.alive.strong_count() == 0).await;
    }

    async fn refusal_by_a_hook_drops_the_handler(net: Transport) {
        let (builder, handlers) = Handlers::of(players());
        let server = net.serve(builder.connected(|_| async { Err(Refusal::new("not today")) })).await;
        let outcome = within(net.try_connect(&server, Client::builder().auth(Login::new("ada")))).await;
        assert!(matches!(outcome, Err(ConnectError::Refused(_))), "{outcome:?}");
        assert_eq!(handlers.created(), 1);
        handlers.until_alive(0).await;
    }

    async fn group_of_a_socket_shadows_the_handler(net: Transport) {
        struct Fixed;
        impl Account for Fixed {
            async fn name(&self) -> String { "fixed".into() }
            async fn pay(&self, _: u32) -> u32 { 0 }
            async fn wait(&self) {}
            async fn noted(&self, _: &str) {}
        }
        let (builder, _handlers) = Handlers::of(players());
        let server = net.serve(builder.connected(|socket: Socket<Player>| async move {
            if socket.identity().name == "ada" {
                socket.serve(AccountServer::new(Fixed));
            }
        })).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        assert_eq!(AccountClient::new(&ada).name().await, Ok("fixed".into()));
        assert_eq!(AccountClient::new(&bob).name().await, Ok("bob".into()));
        server.socket("bob").unwrap().serve(AccountServer::new(Fixed));
        assert_eq!(AccountClient::new(&bob).name().await, Ok("fixed".into()));
    }

    async fn listener_and_handler_receive_each_emit(net: Transport) {
        let (builder, mut handlers) = Handlers::of(players());
        let server = net.serve(builder).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let (heard, mut hearing) = unbounded_channel();
        server.socket("ada").unwrap().group("Account").listen("noted", move |text: String| {
            heard.send(text).unwrap();
            async {}
        });
        AccountClient::new(&client).noted("hello").await.unwrap();
        assert_eq!(handlers.notes.recv().await.unwrap(), "ada: hello");
        assert_eq!(hearing.recv().await.unwrap(), "hello");
    }

    async fn methods_are_announced_to_the_client(net: Transport) {
        mod other {
            /// A contract with the same path and name, and with other types.
            #[sockets::group("Account")]
            pub(super) trait Account { async fn pay(&self, amount: u32) -> String; }
        }
        let (builder, _handlers) = Handlers::of(players());
        let server = net.serve(builder).await;
        let client = net.join(&server, "ada", Client::builder()).await;
        let paid = other::AccountClient::new(&client).pay(1).await;
        assert!(matches!(paid, Err(CallError::SignatureMismatch { .. })), "{paid:?}");
    }

    async fn layers_wrap_the_handlers(net: Transport) {
        let layer = authorize(|request: &sockets::layer::Request| {
            let socket: Socket<Player> = request.socket().unwrap();
            if socket.identity().name == "ada" || request.method() == "name" { Ok(()) } else { Err("only ada pays") }
        });
        let (builder, _handlers) = Handlers::of(players());
        let server = net.serve(builder.layer(layer)).await;
        let ada = net.join(&server, "ada", Client::builder()).await;
        let bob = net.join(&server, "bob", Client::builder()).await;
        let (ada, bob) = (AccountClient::new(&ada), AccountClient::new(&bob));
        assert_eq!((ada.pay(1).await, ada.pay(2).await), (Ok(1), Ok(3)));
        assert_eq!(bob.pay(1).await, Err(CallError::Denied("only ada pays".into())));
        assert_eq!(bob.name().await, Ok("bob".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_session_keeps_its_handler() {
    /// An identity with a part that changes at each login.
    #[derive(Clone, sockets::Identity)]
    struct User {
        #[identity(key)]
        id: u32,
        login: u32,
    }
    #[sockets::group("Visits")]
    trait Visits {
        /// Returns the number of calls in this session, and of logins of this user.
        async fn count(&self) -> (u32, u32);
    }
    struct Visitor(Socket<User>, AtomicU32);
    impl Visits for Visitor {
        async fn count(&self) -> (u32, u32) {
            (self.1.fetch_add(1, Ordering::Relaxed) + 1, self.0.identity().login)
        }
    }
    let logins = AtomicU32::new(0);
    let server = Server::builder()
        .authenticate(move |(): ()| {
            let login = logins.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok::<_, Refusal>(User { id: 7, login }) }
        })
        .serve_each(|socket: &Socket<User>| VisitsServer::new(Visitor(socket.clone(), AtomicU32::new(0))))
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let visits = VisitsClient::new(&client);
    assert_eq!(within(visits.count()).await, Ok((1, 1)));
    link.cut();
    eventually("the client has no connection", || client.is_away()).await;
    let (count, ()) = within(async { tokio::join!(visits.count(), async { link.restore() }) }).await;
    assert_eq!(count, Ok((2, 2)), "the same handler sees the identity of the second login");

    server.socket(&7).unwrap().disconnect("enough");
    within(client.disconnected()).await;
    let another = within(link.connect(reconnecting())).await.unwrap();
    assert_eq!(within(VisitsClient::new(&another).count()).await, Ok((1, 3)), "a new session has a new handler");
}
