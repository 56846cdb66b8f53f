//! The builder of a client.

use std::{
    any::type_name,
    future::Future,
    io,
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

use crate::codec;
#[cfg(feature = "middleware")]
use crate::layer::{CallLayer, Layers};
use crate::{
    address::{Address, AddressError},
    call_error::EncodeError,
    client::Client,
    client_state::ClientState,
    connect_error::ConnectError,
    connector::Destination,
    driver::Driver,
    handshake::{self, PeerSettings, ResumeGrant, Resumption},
    identity::Identity,
    limits::Limits,
    peer_label::PeerLabel,
    reconnect::Reconnect,
    reconnector::{ConnectSettings, Login, Reconnector, make_login},
    server::Server,
    session::{Peer, Routes, Service, Session, cannot_encode},
    session_hooks::{SessionHooks, SessionInfo},
    transport::{BoxError, ClientOptions, ConnectInfo, Incoming, Link, memory_pair, over_messages, over_stream},
};
use sockets_proto::{Role, clamp_timeout};

/// The server of a client, or an open link to it.
enum ConnectTarget {
    /// A server to which the client connects, and can reconnect after a connection loss.
    To(Destination),
    Over(Link),
}

/// A builder for a [`Client`].
/// A clone of a builder has the same settings and serves with the same handlers.
#[derive(Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    limits: Limits,
    options: ClientOptions,
    routes: Routes,
    login: Login,
    hooks: SessionHooks,
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
    pub(crate) fn new() -> Self {
        Self {
            limits: Limits::default(),
            options: ClientOptions::default(),
            routes: Routes::default(),
            login: Arc::new(|| Box::pin(async { encode_credentials(&()) })),
            hooks: SessionHooks::default(),
            reconnect: Reconnect::default(),
            #[cfg(feature = "middleware")]
            layers: Layers::default(),
        }
    }

    /// Sets the login that the client sends to the server. Default: `()`.
    ///
    /// The login must have the type that the server's function for
    /// [`authenticate`](crate::ServerBuilder::authenticate) takes. A server without `authenticate`
    /// ignores the login.
    pub fn auth(self, login: impl Serialize + Send + Sync + 'static) -> Self {
        Self { login: Arc::new(move || Box::pin(std::future::ready(encode_credentials(&login)))), ..self }
    }

    /// Sets a function that returns the login for each connection, such as a token that expires.
    ///
    /// [`Limits::authentication`] limits the total time of the function, of opening the connection
    /// and of the handshake.
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
        Self { login: Arc::new(login), ..self }
    }

    /// Sets a function that returns the login for each connection, as
    /// [`auth_with`](Self::auth_with) does, but can fail.
    ///
    /// If the function fails, the attempt to connect has failed with [`ConnectError::Login`]. The
    /// client makes further attempts as after any other failed attempt.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockets::Client;
    ///
    /// let client = Client::builder()
    ///     .try_auth_with(|| async { Ok(tokio::fs::read_to_string("token").await?) })
    ///     .connect("tcp://127.0.0.1:7000")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn try_auth_with<L, F, Fut>(self, f: F) -> Self
    where
        L: Serialize,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<L, BoxError>> + Send + 'static,
    {
        let login = move || -> BoxFuture<'static, _> {
            let login = f();
            Box::pin(async move { encode_credentials(&login.await.map_err(ConnectError::Login)?) })
        };
        Self { login: Arc::new(login), ..self }
    }

    /// Serves a group to the server.
    ///
    /// # Panics
    ///
    /// The method panics if a group with the same path is served already. It also panics if the key
    /// of a method (the hash of its path and name, see PROTOCOL.md, section 5) equals the key of
    /// another method.
    #[track_caller]
    pub fn serve(mut self, service: impl Service) -> Self {
        self.routes.serve_or_panic(Arc::new(service));
        self
    }

    /// Adds a hook that prepares each session: the first session and every later new session, but
    /// not a resumed session. Several hooks run one after the other.
    ///
    /// While the hooks run, the session holds all other calls and emits of the client, so that the
    /// server receives the messages of the hooks first. The session does not hold calls and emits
    /// through the hook's `peer`, and those of handlers of this client.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockets::{Client, Server};
    ///
    /// let server = Server::builder().build();
    /// let client = Client::builder()
    ///     .each_session(|peer, session| async move {
    ///         // The server does not know the rooms of an earlier session.
    ///         let rejoined = peer.emit("rejoin", &("lobby", session.number)).await;
    ///         rejoined.unwrap_or_else(|error| println!("{error}"));
    ///     })
    ///     .connect_local(&server)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A hook starts before the client handles the first message of the server. Listeners that it
    /// adds before its first suspension receive all messages of the session. What a hook adds with
    /// the `listen`, `set_callback` and `serve` of its `peer` is removed when the next session
    /// begins.
    ///
    /// [`connect`](Self::connect) returns after the first run. If the hooks have not completed
    /// within [`Limits::connected`] after the server is ready, or if a hook panics, `connect`
    /// fails. In a later session, the client instead closes the connection, and makes another
    /// attempt to reconnect.
    pub fn each_session<F, Fut>(mut self, f: F) -> Self
    where
        F: Fn(Peer, SessionInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.add(f);
        self
    }

    /// Sets the policy by which the client reconnects after a connection loss. By default, the
    /// client makes attempts until an attempt succeeds.
    ///
    /// After the client has reconnected, it resumes its session if the server still has the
    /// session: see [`ClientState`]. Only clients made by [`connect`](Self::connect) can reconnect.
    /// The session of any other client ends with its connection.
    ///
    /// A client does not reconnect in these cases:
    ///
    /// - The last handle to the client was dropped.
    /// - The server disconnected the client, or shut down.
    /// - A protocol error ended the connection.
    ///
    /// If the last handle is dropped while there is no connection, the client cannot send a close
    /// reason. The server then ends the session after [`Limits::resume_within`]. The hooks of
    /// [`on_disconnect`](Peer::on_disconnect) run at that time.
    pub fn reconnect(self, reconnect: Reconnect) -> Self {
        Self { reconnect, ..self }
    }

    /// Sets the limits of the connection.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the TLS configuration: the trusted authorities and an optional client certificate.
    /// Default: the public authorities that Mozilla trusts, and no client certificate.
    ///
    /// [`tls::client_config`](crate::tls::client_config) makes a configuration from PEM. Any
    /// configuration of [`rustls`](crate::tls::rustls) can be passed, too.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<Arc<crate::tls::rustls::ClientConfig>>) -> Self {
        self.options.tls = Some(config.into());
        self
    }

    /// Compresses sent messages of at least `bytes` bytes. Default: no compression.
    ///
    /// The client compresses messages only if the server also enables compression: see
    /// [`ServerBuilder::compress_from`](crate::ServerBuilder::compress_from).
    #[cfg(feature = "compression")]
    pub fn compress_from(mut self, bytes: u32) -> Self {
        self.options.compression = crate::transport::Compression::with_min_size(bytes);
        self
    }

    /// Adds a layer around each received call and emit. The layer encloses all handlers and
    /// listeners.
    ///
    /// The layer added last is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer(mut self, layer: impl CallLayer) -> Self {
        self.layers.add_incoming(layer);
        self
    }

    /// Adds a layer around each call and emit that the client sends, by stubs and by name.
    ///
    /// The layer added last is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer_outgoing(mut self, layer: impl CallLayer) -> Self {
        self.layers.add_outgoing(layer);
        self
    }

    /// Connects to an address, such as `tcp://host:port`, and waits until the server's `connected`
    /// hook has completed.
    ///
    /// The client must open the connection and complete the handshake within
    /// [`Limits::authentication`]. The hook must complete before the sum of
    /// [`Limits::authentication`] and [`Limits::connected`] has passed since the call. These are
    /// the limits of the client.
    ///
    /// The client sends the user and the password of `ws://user:password@host` by HTTP basic
    /// authentication. Special characters in a user or password must be percent-encoded. Addresses
    /// of other schemes must not contain a user and a password: use [`auth`](Self::auth). Errors
    /// and logs do not contain the user and the password.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] distinguishes failures of the address, the transport, the handshake, the
    /// version and the authentication.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the connection is closed.
    pub async fn connect(self, url: &str) -> Result<Client, ConnectError> {
        self.connect_to(Destination::Address(Address::parse(url)?)).await
    }

    /// Returns a client that connects in the background, with the retries of
    /// [`reconnect`](Self::reconnect). Calls and emits wait for the connection, calls at most up to
    /// their deadlines.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockets::Client;
    ///
    /// // The server may start later.
    /// let client = Client::builder().connect_lazy("tcp://127.0.0.1:7000")?;
    /// assert!(client.is_away());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The method fails only if the address is invalid.
    ///
    /// # Panics
    ///
    /// The method panics outside of a tokio runtime.
    #[track_caller]
    pub fn connect_lazy(self, url: &str) -> Result<Client, AddressError> {
        let destination = Destination::Address(Address::parse(url)?);
        Ok(self.start(destination).0)
    }

    /// Connects over streams that `connector` opens. The client calls `connector` for each
    /// connection, and so can reconnect. The server must pass the other end of each stream to
    /// [`Server::accept`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockets::{Client, Server};
    ///
    /// let server = Server::builder().build();
    /// let accepting = server.clone();
    /// let connector = move || {
    ///     let (near, far) = tokio::io::duplex(65_536);
    ///     drop(accepting.accept(far));
    ///     async { Ok(near) }
    /// };
    /// let client = Client::builder().connect_with(connector).await?;
    /// assert!(client.is_connected());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The method has the errors of [`connect`](Self::connect). An error of `connector` is
    /// [`ConnectError::Unreachable`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the connection is closed.
    pub async fn connect_with<F, Fut, S>(self, connector: F) -> Result<Client, ConnectError>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let connector = move || -> BoxFuture<'static, _> {
            let opening = connector();
            Box::pin(async move {
                let (read, write) = tokio::io::split(opening.await?);
                Ok(over_stream(read, write))
            })
        };
        self.connect_to(Destination::Connector(Arc::new(connector))).await
    }

    /// Connects over a byte stream. The server must pass the other end of the stream to
    /// [`Server::accept`].
    ///
    /// The client cannot reconnect.
    ///
    /// # Errors
    ///
    /// The method has the errors of [`connect`](Self::connect).
    pub async fn connect_over<S>(self, io: S) -> Result<Client, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(io);
        self.connect_by(ConnectTarget::Over(over_stream(read, write))).await
    }

    /// Connects over a stream and sink of whole messages. The server must pass the other end to
    /// [`Server::accept_messages`], which states the requirements for the stream.
    ///
    /// The client cannot reconnect.
    ///
    /// # Errors
    ///
    /// The method has the errors of [`connect`](Self::connect).
    pub async fn connect_over_messages<S, M, E>(self, messages: S) -> Result<Client, ConnectError>
    where
        S: Stream<Item = Result<M, E>> + Sink<Bytes, Error: Into<BoxError>> + Send + 'static,
        M: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.connect_by(ConnectTarget::Over(over_messages(messages))).await
    }

    /// Connects to a server in the same process, without a socket of the operating system.
    ///
    /// Use this method for tests, and for programs that connect to a server of their own. The
    /// client cannot reconnect.
    ///
    /// # Errors
    ///
    /// The method has the errors of [`connect`](Self::connect).
    pub async fn connect_local<I: Identity>(self, server: &Server<I>) -> Result<Client, ConnectError> {
        let (near, far) = memory_pair();
        server.accept_incoming(Incoming::Open(far, ConnectInfo::over("memory")));
        self.connect_by(ConnectTarget::Over(near)).await
    }

    async fn connect_to(self, destination: Destination) -> Result<Client, ConnectError> {
        if !self.reconnect.retries_first() {
            return Box::pin(self.connect_by(ConnectTarget::To(destination))).await;
        }
        let (client, reconnector) = self.start(destination);
        let mut states = client.state_watch();
        tokio::select! {
            Ok(_) = states.wait_for(|state| matches!(state, ClientState::Connected { .. })) => {}
            reason = client.as_peer().session().disconnected() => {
                return Err(reconnector.take_error().unwrap_or_else(|| ConnectError::ended(reason)));
            }
        }
        Ok(client)
    }

    /// Returns the routes of the groups that the client serves.
    fn routes(&self) -> Routes {
        #[cfg(feature = "middleware")]
        let interceptor = self.layers.interceptor();
        #[cfg(not(feature = "middleware"))]
        let interceptor = None;
        self.routes.clone().with_interceptor(interceptor)
    }

    /// Returns a client that connects in the background.
    fn start(self, destination: Destination) -> (Client, Arc<Reconnector>) {
        let routes = self.routes();
        let Self { limits, options, login, mut hooks, reconnect, .. } = self;
        let limits = Arc::new(limits);
        // A connection that the other end has closed, and the settings that apply until the server
        // sends its own.
        let (Link { receiver, transmitter, received }, _) = memory_pair();
        let peer_settings = PeerSettings {
            settings: limits.settings(),
            idle_timeout: None,
            supports_compression: false,
            retransmit_limit: Some(0),
            retries: true,
        };
        let shared = Arc::default();
        let session =
            Session::new(PeerLabel::Server, transmitter, peer_settings, Arc::clone(&limits), routes, shared, true);
        drop(session.detach(None));
        let (changed, states) = watch::channel(ClientState::Reconnecting { attempt: 1, reason: None, error: None });
        hooks.limit = limits.connected;
        let settings = ConnectSettings { options, limits, login, hooks };
        let reconnector = Arc::new(Reconnector::new(destination, settings, reconnect, None, changed));
        let driver = Driver::new(Arc::clone(&session), receiver, received).with_reattach(reconnector.clone());
        let client = Client::new(&session, states);
        tokio::spawn(driver.run(|| {}));
        (client, reconnector)
    }

    async fn connect_by(self, target: ConnectTarget) -> Result<Client, ConnectError> {
        let routes = self.routes();
        let Self { limits, options, login, mut hooks, reconnect, .. } = self;
        let limits = Arc::new(limits);
        let announcement = routes.announcement();
        let deadline = Instant::now() + clamp_timeout(limits.authentication);
        // The client makes the login before it opens the connection, because the server limits the
        // time from the opening until it receives the login.
        let made = timeout_at(deadline, make_login(&login)).await;
        let encoded_login =
            made.map_err(|_| ConnectError::Login("`auth_with` was too slow; raise `Limits::authentication`".into()))??;
        let (mut link, destination) = match target {
            ConnectTarget::To(destination) => {
                let opened = timeout_at(deadline, destination.open(&options, &limits)).await;
                let link = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                (link, Some(destination).filter(|_| !reconnect.is_never()))
            }
            ConnectTarget::Over(link) => (link, None),
        };
        let resumption = destination.is_some().then_some(Resumption::New);
        let handshake =
            handshake::send_hello(&mut link, &limits, &options.compression, encoded_login, resumption, deadline);
        let (peer_settings, grant) = handshake.await?;

        let deadline = deadline + clamp_timeout(limits.connected);
        let Link { receiver, transmitter, received } =
            options.compression.wrap(link, peer_settings.supports_compression);
        let session = Session::new(
            PeerLabel::Server,
            transmitter,
            peer_settings,
            Arc::clone(&limits),
            routes,
            Arc::default(),
            true,
        );
        if let Some(announcement) = announcement {
            session.announce(&announcement);
        }
        let (changed, states) = watch::channel(ClientState::Connected { session: 1, resumed: false });
        let client = Client::new(&session, states);
        hooks.limit = limits.connected;
        let prepared = (!hooks.is_empty()).then(|| hooks.begin(&session, 1));
        let mut driver = Driver::new(Arc::clone(&session), receiver, received);
        if let (Some(destination), Some(ResumeGrant { token, .. })) = (destination, grant) {
            let settings = ConnectSettings { options, limits, login, hooks };
            let reconnector = Reconnector::new(destination, settings, reconnect, Some(token), changed);
            driver = driver.with_reattach(Arc::new(reconnector));
        }
        let mut driver = Box::pin(driver.run(|| {}));
        // The bytes after the server's hello usually contain the ready frame. In that case, this
        // poll completes `connect` without a wake-up. The poll runs no user code, because the
        // driver's wakers belong to the driver's own task.
        if driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(driver);
        }
        let ready = async {
            let ready = timeout_at(deadline, session.until_connected()).await;
            let ready = ready.map_err(|_| ConnectError::Handshake("the server did not get ready in time".into()))?;
            ready.map_err(ConnectError::ended)
        };
        match prepared {
            None => ready.await?,
            Some(prepared) => {
                let prepared = async {
                    tokio::select! {
                        prepared = prepared => prepared.map_err(|error| ConnectError::Handshake(error.into())),
                        reason = session.disconnected() => Err(ConnectError::ended(reason)),
                    }
                };
                tokio::try_join!(ready, prepared)?;
            }
        }
        Ok(client)
    }
}

fn encode_credentials<L: Serialize>(login: &L) -> Result<Vec<u8>, ConnectError> {
    codec::encode(login).map_err(|error| {
        let login = format!("the login ({})", type_name::<L>());
        ConnectError::Login(EncodeError::new(cannot_encode(&login, Role::Client, &error)).into())
    })
}
