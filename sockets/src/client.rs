//! The client and its builder.

use std::{
    any::type_name,
    future::{Future, poll_fn},
    io,
    ops::Deref,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{Sink, future::BoxFuture};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, timeout_at},
};

#[cfg(feature = "middleware")]
use crate::layer::{CallService, Layer, Layers, Next};
use crate::{
    address::Address,
    client_state::{ClientState, StateChanges},
    connect_error::ConnectError,
    connector::open,
    disconnect_reason::DisconnectReason,
    driver::Driver,
    handler_context::run_hook,
    handshake::{self, ResumeGrant, Resumption},
    limits::Limits,
    peer_label::PeerLabel,
    reconnect::Reconnect,
    reconnector::{Login, Reconnector, make_login},
    server::{Identity, Server},
    session::{Peer, Routes, Service, Session, cannot_encode},
    transport::{BoxError, ClientOptions, ConnectInfo, Incoming, Link, memory_pair, over_messages, over_stream},
};
use crate::{codec, hooks};
use sockets_proto::{Role, clamp_timeout};

type ConnectedHook = Box<dyn FnOnce(Peer) -> BoxFuture<'static, ()> + Send>;

/// A connection to a server. It is a [`Peer`] that keeps the connection open: when the last clone is dropped, the
/// client says goodbye and closes.
#[derive(Clone, Debug)]
pub struct Client {
    peer: Peer,
    states: watch::Receiver<ClientState>,
    _keep_open: Arc<CloseOnDrop>,
}

impl Client {
    /// A builder for a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            limits: Limits::default(),
            options: ClientOptions::default(),
            services: Vec::new(),
            login: Box::new(|| Box::pin(async { encode_credentials(&()) })),
            connected: None,
            reconnect: Reconnect::default(),
            #[cfg(feature = "middleware")]
            layers: Layers::default(),
        }
    }

    /// Says goodbye, behind all that has been sent, and waits until the server has heard it. To drop the last clone says
    /// goodbye, too, but in the background: a program that ends at once does not get to it. A client without a connection
    /// just ends.
    ///
    /// ```
    /// # async fn example(client: sockets::Client) -> Result<(), sockets::CallError> {
    /// client.emit("seen", &7).await?;
    /// client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Called by a handler, listener or layer of this client, which it would wait for, it returns at once.
    ///
    /// # Cancel safety
    ///
    /// The client closes, whether this is waited for or not once it has been polled.
    pub async fn close(&self) {
        let session = self.peer.session();
        session.close(DisconnectReason::Closed);
        if !session.runs_here() {
            session.released().await;
        }
    }

    /// How it stands with its server now.
    pub fn state(&self) -> ClientState {
        match self.peer.session().reason() {
            Some(reason) => ClientState::Ended(reason.clone()),
            None => self.states.borrow().clone(),
        }
    }

    /// How that changes from now on: a stream that ends behind [`ClientState::Completed`], and keeps nothing open.
    ///
    /// ```
    /// # async fn example(client: &sockets::Client) {
    /// use sockets::ClientState;
    ///
    /// let mut states = client.states();
    /// while let Some(state) = states.next().await {
    ///     match state {
    ///         ClientState::Connected { session } => println!("connected, in session {session}"),
    ///         ClientState::Reconnecting { attempt, reason, .. } => println!("{reason}; attempt {attempt} to come back"),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn states(&self) -> StateChanges {
        let mut states = self.states.clone();
        states.mark_unchanged();
        StateChanges::new(states, Arc::clone(self.peer.session()))
    }
}

impl Deref for Client {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// How to reach a server.
enum ConnectTarget {
    /// Once, and again when the connection has broken.
    To(Address),
    Over(Link),
}

/// Closes the session when the last handle is dropped.
#[derive(Debug)]
struct CloseOnDrop(Arc<Session>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(DisconnectReason::Closed);
    }
}

/// Builds a [`Client`].
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    limits: Limits,
    options: ClientOptions,
    services: Vec<Arc<dyn Service>>,
    login: Login,
    connected: Option<ConnectedHook>,
    reconnect: Reconnect,
    #[cfg(feature = "middleware")]
    layers: Layers,
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Sets the login, of the type that the server's `authenticate` takes. Without it, the login is `()`.
    ///
    /// A server without [`authenticate`](crate::ServerBuilder::authenticate) ignores the login.
    pub fn auth(self, login: impl Serialize + Send + Sync + 'static) -> Self {
        Self { login: Box::new(move || Box::pin(std::future::ready(encode_credentials(&login)))), ..self }
    }

    /// Logs in with what `f` returns, which is called for each connection: for logins that expire. It is limited by
    /// [`Limits::authentication`], which includes opening the connection.
    pub fn auth_with<L, F, Fut>(self, f: F) -> Self
    where
        L: Serialize,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = L> + Send + 'static,
    {
        let login = move || -> BoxFuture<'static, _> {
            let login = f();
            Box::pin(async move { encode_credentials(&login.await) })
        };
        Self { login: Box::new(login), ..self }
    }

    /// Serves a group to the server.
    pub fn serve(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Runs `f` before the first message of the server is handled. Listeners that it sets before it first waits hear
    /// all messages; it may call the server, too.
    pub fn connected<F, Fut>(self, f: F) -> Self
    where
        F: FnOnce(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self { connected: Some(Box::new(|peer| Box::pin(f(peer)))), ..self }
    }

    /// How the client comes back when its connection has broken. By default, it tries until it succeeds. Its session then goes on,
    /// if the server still keeps it: see [`ClientState`]. This is about [`connect`](Self::connect): the other ways to
    /// connect have no way back.
    ///
    /// A client is over, and does not come back, when its last handle is dropped, when the server says that it disconnects it or shuts
    /// down, and when a side breaks the protocol. If the last handle is dropped while there is no connection, the server finds out when
    /// it has waited for [`Limits::resume_within`]. [`on_disconnect`](Peer::on_disconnect) runs then.
    pub fn reconnect(self, reconnect: Reconnect) -> Self {
        Self { reconnect, ..self }
    }

    /// Sets the limits of the connection.
    ///
    /// # Panics
    ///
    /// If a limit is below its minimum, which [`Limits`] states.
    #[track_caller]
    pub fn limits(self, limits: Limits) -> Self {
        limits.check();
        Self { limits, ..self }
    }

    /// Whom to trust over TLS, and perhaps a certificate of the client's own:
    /// [`tls::client_config`](crate::tls::client_config), or a configuration of [`rustls`](crate::tls::rustls). Without it
    /// public authorities are trusted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<Arc<crate::tls::rustls::ClientConfig>>) -> Self {
        self.options.tls = Some(config.into());
        self
    }

    /// Compresses messages of so many bytes and more, if the server does that, too
    /// ([`ServerBuilder::compress_from`](crate::ServerBuilder::compress_from)).
    #[cfg(feature = "compression")]
    pub fn compress_from(mut self, bytes: u32) -> Self {
        self.options.compression = crate::transport::Compression::from(bytes);
        self
    }

    /// Puts a layer around all handlers and listeners: around every call and emit that
    /// comes in. Of several, the first is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.layers.add_incoming(layer);
        self
    }

    /// Puts a layer around every call and emit that is sent, by stubs and by name. Of several, the first is the outermost. See
    /// [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer_outgoing<L>(mut self, layer: L) -> Self
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.layers.add_outgoing(layer);
        self
    }

    /// Connects to an address, such as `tcp://host:port`, and returns when the server's `connected` has finished: at the latest when this
    /// client's [`Limits::authentication`] and [`Limits::connected`] are over.
    ///
    /// `ws://user:password@host` sends the user and the password by HTTP basic authentication, with special characters
    /// percent-encoded. Other schemes refuse them: use [`auth`](Self::auth). No error and no log shows them.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says whether the address, the handshake, the version or the authentication was at fault.
    pub async fn connect(self, url: &str) -> Result<Client, ConnectError> {
        self.connect_by(ConnectTarget::To(Address::parse(url)?)).await
    }

    /// Connects over a stream of bytes whose other end is given to [`Server::accept`].
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_over<S>(self, io: S) -> Result<Client, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(io);
        self.connect_by(ConnectTarget::Over(over_stream(read, write))).await
    }

    /// Connects over a stream and sink of whole messages whose other end is given to [`Server::accept_messages`], which
    /// says what they have to do.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_over_messages<S, M, E>(self, messages: S) -> Result<Client, ConnectError>
    where
        S: Stream<Item = Result<M, E>> + Sink<Bytes, Error: Into<BoxError>> + Send + 'static,
        M: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.connect_by(ConnectTarget::Over(over_messages(messages))).await
    }

    /// Connects to a server in the same process: no byte goes through the system. For tests, and for programs that
    /// are their own first client.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_local<I: Identity>(self, server: &Server<I>) -> Result<Client, ConnectError> {
        let (ours, theirs) = memory_pair();
        server.accept_incoming(Incoming::Open(theirs, ConnectInfo::over("memory")));
        self.connect_by(ConnectTarget::Over(ours)).await
    }

    async fn connect_by(self, way: ConnectTarget) -> Result<Client, ConnectError> {
        #[cfg(feature = "middleware")]
        let around = self.layers.around();
        #[cfg(not(feature = "middleware"))]
        let around = None;
        let Self { limits, options, services, login, connected, reconnect, .. } = self;
        let limits = Arc::new(limits);
        let mut routes = Routes::new(limits.names_per_peer as usize).with_interceptor(around);
        services.into_iter().try_for_each(|service| routes.serve(service))?;
        let announcement = routes.announcement();
        let deadline = Instant::now() + clamp_timeout(limits.authentication);
        // First of all: a server does not wait for it long.
        let made = timeout_at(deadline, make_login(&login)).await;
        let greeting = made.map_err(|_| ConnectError::Login("it was not made in time".into()))??;
        let (mut link, address) = match way {
            ConnectTarget::To(address) => {
                let opened = timeout_at(deadline, open(&address, &options, &limits)).await;
                let link = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                (link, Some(address).filter(|_| !reconnect.is_never()))
            }
            ConnectTarget::Over(link) => (link, None),
        };
        let resumption = address.is_some().then_some(Resumption::New);
        let greeting = handshake::send_hello(&mut link, &limits, &options.compression, greeting, resumption, deadline);
        let (theirs, granted) = greeting.await?;

        let ready = connected.is_none();
        let deadline = deadline + clamp_timeout(limits.connected);
        let Link { receiver, transmitter, received } = options.compression.around(link, theirs.supports_compression);
        let session = Session::new(
            PeerLabel::Server,
            transmitter,
            theirs,
            Arc::clone(&limits),
            routes,
            Arc::new(Routes::new(0)),
            ready,
        );
        if let Some(announcement) = announcement {
            session.announce(&announcement);
        }
        let (changed, states) = watch::channel(ClientState::Connected { session: 1 });
        let client = Client {
            peer: Peer::new(Arc::clone(&session)),
            states,
            _keep_open: Arc::new(CloseOnDrop(Arc::clone(&session))),
        };
        if let Some(connected) = connected {
            run_connected(connected(client.peer.clone()), &session);
        }
        let mut driver = Driver::new(Arc::clone(&session), receiver, received);
        if let (Some(address), Some(ResumeGrant { token, .. })) = (address, granted) {
            let way_back = Reconnector::new(address, options, limits, login, reconnect, token, changed);
            driver = driver.with_reattach(Arc::new(way_back));
        }
        let mut driver = Box::pin(driver.run(|| {}));
        // Mostly the server has said with its welcome that it is ready: then nobody has to be woken to hear it.
        // Its wakers are always those of its own task, which run no user code.
        if driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(driver);
        }
        let ready = timeout_at(deadline, session.until_connected()).await;
        let ready = ready.map_err(|_| ConnectError::Handshake("the server did not get ready in time".into()))?;
        ready.map_err(ConnectError::ended)?;
        Ok(client)
    }
}

/// Runs the hook to its first suspension, so that the listeners it sets are there, before calls may come in: the server
/// may be waiting for their answers, and must not wait for the rest of the hook.
fn run_connected(mut hook: BoxFuture<'static, ()>, session: &Arc<Session>) {
    let polled = run_hook(session, || hook.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    session.set_client_ready();
    if polled.is_pending() {
        let (session, context) = (Arc::clone(session), Arc::clone(session));
        let hook = poll_fn(move |cx| run_hook(&context, || hook.as_mut().poll(cx)));
        tokio::spawn(async move {
            tokio::select! {
                _ = hooks::run_future("connected", session.label(), || hook) => {}
                _ = session.disconnected() => {}
            }
        });
    }
}

fn encode_credentials<L: Serialize>(login: &L) -> Result<Vec<u8>, ConnectError> {
    codec::encode(login).map_err(|error| {
        let login = format!("the login ({})", type_name::<L>());
        ConnectError::Login(cannot_encode(&login, Role::Client, &error))
    })
}
