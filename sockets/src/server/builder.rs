//! The builder of a server.

use std::{
    any::type_name,
    future::{Future, ready},
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::AtomicU64},
};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use self::sealed::Outcome;
use super::{
    ConnectedHook, Inner, Server,
    builder_state::{BuilderState, NoIdentityYet, Unset},
    detached::DetachedSessions,
    limiter::ConnectionLimiter,
    registry::Registry,
    socket::Socket,
};
use crate::codec::{DecodeError, decode_within};
#[cfg(feature = "middleware")]
use crate::layer::{Authentication, CallLayer, ConnectLayers, Connecting, Layer, Layers};
use crate::{
    authenticator::{Admission, AuthFailure, Authenticate, Authenticator},
    broadcast::Fanout,
    connect_error::BindError,
    limits::Limits,
    lock::{Mutex, RwLock, event},
    peer_label::PeerLabel,
    refusal::Refusal,
    session::{GroupInfo, Routes, Service, cannot_decode},
    transport::{ConnectInfo, ServerOptions},
};
use sockets_proto::Role;

/// Factor in the memory limit of a decoded login. A decoded login may take [`LOGIN_FREE`] bytes,
/// plus `LOGIN_FACTOR` bytes for each encoded byte. The limit is low, since the server decodes the
/// login before it authenticates the client.
const LOGIN_FACTOR: usize = 16;
const LOGIN_FREE: usize = 64 * 1024;

/// The return type of a hook: `()` or `Result<(), Refusal>`. Sealed.
#[diagnostic::on_unimplemented(
    message = "a hook returns `()` or `Result<(), Refusal>`, not `{Self}`",
    note = "use `?` on other errors, and return `Ok(())` at the end"
)]
pub trait HookOutcome: Outcome {}

impl HookOutcome for () {}
impl HookOutcome for Result<(), Refusal> {}

mod sealed {
    use crate::refusal::Refusal;

    pub trait Outcome: Send + 'static {
        fn into_result(self) -> Result<(), Refusal>;
    }

    impl Outcome for () {
        fn into_result(self) -> Result<(), Refusal> {
            Ok(())
        }
    }

    impl Outcome for Result<(), Refusal> {
        fn into_result(self) -> Self {
            self
        }
    }
}

/// A builder for a [`Server`]. `S` is the type of the identity that the function for
/// [`authenticate`](ServerBuilder::authenticate) returns. It is [`Unset`] until a method names the
/// identity, and the identity is then `()` by default.
///
/// Methods that add a hook, a group or a layer accumulate. A clone builds an independent server.
#[must_use = "a builder does nothing until it is built or bound"]
pub struct ServerBuilder<S: BuilderState = Unset> {
    limits: Limits,
    options: ServerOptions,
    routes: Routes,
    authenticate: Arc<Authenticator<S::Identity>>,
    /// The hooks that create the handlers of `serve_each`. They run before those of `connected`.
    create_handlers: Vec<Arc<ConnectedHook<S::Identity>>>,
    connected: Vec<Arc<ConnectedHook<S::Identity>>>,
    #[cfg(feature = "middleware")]
    layers: Layers,
    #[cfg(feature = "middleware")]
    connect_layers: ConnectLayers<S::Identity>,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            limits: Limits::default(),
            options: ServerOptions::default(),
            routes: Routes::default(),
            authenticate: Arc::new(|login, info| {
                if !login.is_empty() {
                    let peer = PeerLabel::Connecting { address: info.remote_addr };
                    event!(debug, %peer, "a login is ignored: the server has no `ServerBuilder::authenticate`");
                }
                Box::pin(async { Ok(Admission::new(())) })
            }),
            create_handlers: Vec::new(),
            connected: Vec::new(),
            #[cfg(feature = "middleware")]
            layers: Layers::default(),
            #[cfg(feature = "middleware")]
            connect_layers: ConnectLayers::default(),
        }
    }
}

impl<S: BuilderState> ServerBuilder<S> {
    /// Sets the function that authenticates each client and returns its identity. By default, the
    /// server admits every client with the identity `()`.
    ///
    /// If `f` returns a [`Refusal`], the client's attempt to connect fails. If `f` panics or takes
    /// longer than [`Limits::authentication`], the client receives a [`Refusal::retry`]. If the
    /// client disconnects during the authentication, the server drops the future that `f` returned.
    ///
    /// The method is available until it, [`connected`](Self::connected),
    /// [`serve_each`](Self::serve_each) or `layer_connecting` has been called, since these methods
    /// name the type of the identity.
    pub fn authenticate<Args, F: Authenticate<Args>>(self, f: F) -> ServerBuilder<F::Identity>
    where
        S: NoIdentityYet,
    {
        let authenticate = move |login: &[u8], info: ConnectInfo| -> BoxFuture<'static, _> {
            match decode_within(login, LOGIN_FACTOR * login.len() + LOGIN_FREE) {
                Ok(login) => {
                    let decision = f.authenticate(login, info);
                    Box::pin(async move { decision.await.map_err(AuthFailure::Refused) })
                }
                Err(error) => {
                    let message = describe_login::<F::Login>(login, &error);
                    Box::pin(async { Err(AuthFailure::InvalidLogin(message)) })
                }
            }
        };
        ServerBuilder {
            limits: self.limits,
            options: self.options,
            routes: self.routes,
            authenticate: Arc::new(authenticate),
            create_handlers: Vec::new(),
            connected: Vec::new(),
            #[cfg(feature = "middleware")]
            layers: self.layers,
            #[cfg(feature = "middleware")]
            connect_layers: ConnectLayers::default(),
        }
    }

    /// Names the identity in the type of the builder.
    fn named(self) -> ServerBuilder<S::Identity> {
        ServerBuilder {
            limits: self.limits,
            options: self.options,
            routes: self.routes,
            authenticate: self.authenticate,
            create_handlers: self.create_handlers,
            connected: self.connected,
            #[cfg(feature = "middleware")]
            layers: self.layers,
            #[cfg(feature = "middleware")]
            connect_layers: self.connect_layers,
        }
    }

    /// Adds a hook that runs for each new session. The client's `connect` returns after the hook
    /// has completed, and the server then handles the calls of the client.
    ///
    /// If the hook returns a [`Refusal`], the session ends, and the client's `connect` returns the
    /// refusal as an error. If the hook panics or takes longer than [`Limits::connected`], the
    /// client receives a [`Refusal::retry`]: a client that reconnects tries again.
    ///
    /// Several hooks run in the order in which they were added, one after another. A hook runs only
    /// if the previous hooks succeeded. The time limit applies to all hooks together.
    pub fn connected<F, Fut>(self, f: F) -> ServerBuilder<S::Identity>
    where
        F: Fn(Socket<S::Identity>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HookOutcome> + Send + 'static,
    {
        let connected = move |socket| -> BoxFuture<'static, _> {
            let hook = f(socket);
            Box::pin(async move { hook.await.into_result() })
        };
        let mut builder = self.named();
        builder.connected.push(Arc::new(connected));
        builder
    }

    /// Serves a group to all sockets. The sockets share the handler. With
    /// [`serve_each`](Self::serve_each), each socket has its own handler instead.
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

    /// Serves a group with one handler per socket. `f` creates the handler of a new session.
    ///
    /// `f` runs once for each session, before the hooks of [`connected`](Self::connected). A session
    /// that is resumed keeps its handler. The server drops the handler when the session has ended.
    /// If `f` panics, the session ends as if a hook had panicked.
    ///
    /// A handler can keep the [`Socket`], since the server drops the handler first. Call
    /// [`Socket::identity`] for each use: the identity can change when the session is resumed.
    ///
    /// ```
    /// use sockets::{Client, Server, Socket};
    ///
    /// #[sockets::group("Account")]
    /// pub trait Account {
    ///     async fn name(&self) -> String;
    /// }
    ///
    /// /// The handler of one user.
    /// struct User(Socket<String>);
    ///
    /// impl Account for User {
    ///     async fn name(&self) -> String {
    ///         String::clone(&self.0.identity())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder()
    ///     .authenticate(|name: String| async move { Ok(name) })
    ///     .serve_each(|socket: &Socket<String>| AccountServer::new(User(socket.clone())))
    ///     .build();
    /// let client = Client::builder().auth("Ada").connect_local(&server).await?;
    /// assert_eq!(AccountClient::new(&client).name().await?, "Ada");
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// The method panics as [`serve`](Self::serve) does. Both methods share their paths.
    #[track_caller]
    pub fn serve_each<F, G>(self, f: F) -> ServerBuilder<S::Identity>
    where
        F: Fn(&Socket<S::Identity>) -> G + Send + Sync + 'static,
        G: Service,
    {
        let create_handler = move |socket: Socket<S::Identity>| -> BoxFuture<'static, _> {
            socket.session().add_own_handler(Arc::new(f(&socket)));
            Box::pin(ready(Ok(())))
        };
        let mut builder = self.named();
        builder.routes.serve_each_or_panic(GroupInfo::of::<G>());
        builder.create_handlers.push(Arc::new(create_handler));
        builder
    }

    /// Sets the limits of the server and of each connection.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the TLS configuration with the server's certificate. The server uses it for addresses
    /// with `tls://` and `wss://`.
    ///
    /// [`tls::server_config`](crate::tls::server_config) makes a configuration from PEM. Any
    /// configuration of [`rustls`](crate::tls::rustls) can be passed, too.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<Arc<crate::tls::rustls::ServerConfig>>) -> Self {
        self.options.tls = Some(config.into());
        self
    }

    /// Sets the origins of pages that may connect over WebSockets, such as
    /// `["https://example.com"]`. The server refuses pages of other origins. By default, a page may
    /// connect only to the host from which the page was loaded.
    ///
    /// Browsers send the origin of the page that opens a WebSocket. The default prevents other
    /// pages from using the permissions of a visitor's browser, such as its cookies.
    ///
    /// The default also refuses a page that reaches a server on its own machine under a name other
    /// than `localhost`. The reason is DNS rebinding: the owner of a name can let the name point to
    /// any machine. If a proxy runs on the same machine as the server, the origins must therefore
    /// be set.
    ///
    /// Programs other than browsers send no origin, so the server does not check these programs.
    /// When the server refuses a page, it logs a warning with the page's origin and host.
    #[cfg(feature = "ws")]
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.options.origins = crate::transport::Origins::allow_list(origins);
        self
    }

    /// Compresses sent messages of at least `bytes` bytes with LZ4. Default: no compression. Values
    /// below 256 count as 256.
    ///
    /// The server compresses messages only for clients that enable compression: see
    /// [`ClientBuilder::compress_from`](crate::ClientBuilder::compress_from). Compression is useful
    /// for connections that are slower than the processor. If a message of 4 KiB or more is sent to
    /// an audience, the server compresses it once for all members. If compression would not shorten
    /// a message, the server sends the message uncompressed.
    ///
    /// The server decompresses a received message only if its uncompressed size is within
    /// [`Limits::max_frame`]. The uncompressed size also counts towards all other limits.
    ///
    /// # Security
    ///
    /// Compression reveals secrets to an attacker that controls part of a message and sees the
    /// compressed length. The attacker can infer the rest of the message, also over TLS (compare
    /// CRIME and BREACH). Do not compress secrets together with data that other parties choose.
    #[cfg(feature = "compression")]
    pub fn compress_from(mut self, bytes: u32) -> Self {
        self.options.compression = crate::transport::Compression::with_min_size(bytes);
        self
    }

    /// Adds a layer around each received call and emit. The layer encloses all handlers and
    /// listeners, including handlers and listeners of single sockets.
    ///
    /// The layer added last is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer(mut self, layer: impl CallLayer) -> Self {
        self.layers.add_incoming(layer);
        self
    }

    /// Adds a layer around each call and emit that the server sends to a socket or to an audience,
    /// by stubs and by name.
    ///
    /// An emit to an audience passes the layer once. A request to an audience passes the layer once
    /// for each member. The layer added last is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer_outgoing(mut self, layer: impl CallLayer) -> Self {
        self.layers.add_outgoing(layer);
        self
    }

    /// Adds a layer around the authentication of each client. Its service returns the client's
    /// [`Admission`]. The layers are part of the handshake, and must complete with it within
    /// [`Limits::authentication`].
    ///
    /// If the service returns a [`Refusal`] as its error, the client receives the refusal. For any
    /// other error, the client receives a general [`Refusal::retry`], and the server logs the error.
    /// The text of such an error may be internal, and the client may be admitted later.
    ///
    /// The layer added last is the outermost. See [`layer`](crate::layer).
    ///
    /// ```
    /// use sockets::{Client, ConnectError, Server};
    /// use std::time::Duration;
    /// use tower::ServiceBuilder;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let server = Server::builder()
    ///     .authenticate(|_: String| std::future::pending::<Result<String, sockets::Refusal>>())
    ///     .layer_connecting(ServiceBuilder::new().concurrency_limit(50).timeout(Duration::from_millis(10)))
    ///     .build();
    /// let refused = Client::builder().auth("ada").connect_local(&server).await;
    /// assert!(matches!(refused, Err(ConnectError::Refused(refusal)) if refusal.retry_after().is_some()));
    /// # }
    /// ```
    #[cfg(feature = "middleware")]
    pub fn layer_connecting<L>(self, layer: L) -> ServerBuilder<S::Identity>
    where
        L: Layer<Authentication<S::Identity>> + Send + Sync + 'static,
        L::Service: tower_service::Service<
                Connecting,
                Response = Admission<S::Identity>,
                Error: Into<tower::BoxError>,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        let mut builder = self.named();
        builder.connect_layers.add(layer);
        builder
    }

    /// Returns a server that does not listen yet.
    pub fn build(self) -> Server<S::Identity> {
        #[cfg(feature = "middleware")]
        let (interceptor, authenticate) = (self.layers.interceptor(), self.connect_layers.wrap(self.authenticate));
        #[cfg(not(feature = "middleware"))]
        let (interceptor, authenticate) = (None, self.authenticate);
        let routes = self.routes.with_interceptor(interceptor.clone());
        let limits = Arc::new(self.limits);
        Server::open(Inner {
            registry: RwLock::new(Registry::new(limits.rooms_per_socket)),
            key_hasher: RandomState::new(),
            fanout: Fanout::new(limits.outgoing_queue as usize),
            limiter: ConnectionLimiter::new(&limits),
            detached: DetachedSessions::new(&limits),
            detached_handlers: Arc::default(),
            limits,
            options: self.options,
            interceptor,
            announcement: routes.announcement(),
            routes: Arc::new(routes),
            authenticate,
            connected: self.create_handlers.into_iter().chain(self.connected).collect(),
            id_prefix: RandomState::new().hash_one(()),
            next_socket: AtomicU64::new(1),
            next_multi_call: AtomicU64::new(0),
            local_addrs: Mutex::default(),
            stop: CancellationToken::new(),
            listeners: Mutex::default(),
        })
    }

    /// Returns a server that listens on `url`. The method combines [`build`](Self::build) and
    /// [`Server::bind`].
    ///
    /// # Errors
    ///
    /// The method has the errors of [`Server::bind`].
    pub async fn bind(self, url: &str) -> Result<Server<S::Identity>, BindError> {
        let server = self.build();
        server.bind(url).await?;
        Ok(server)
    }
}

/// Returns the error message for a login that cannot be decoded as `L`.
fn describe_login<L: DeserializeOwned>(login: &[u8], error: &DecodeError) -> String {
    let expected = type_name::<L>();
    if login.is_empty() {
        format!("the client sent no login, and the server expects one ({expected}): set it with `ClientBuilder::auth`")
    } else if decode_within::<L>(&[], LOGIN_FREE).is_ok() {
        format!(
            "the client sent a login of {} bytes, and the server expects none ({expected}): remove \
             `ClientBuilder::auth`, or take the login in `ServerBuilder::authenticate`",
            login.len()
        )
    } else {
        cannot_decode(&format!("the login ({expected})"), Role::Server, error)
    }
}

impl<S: BuilderState> Clone for ServerBuilder<S> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits.clone(),
            options: self.options.clone(),
            routes: self.routes.clone(),
            authenticate: Arc::clone(&self.authenticate),
            create_handlers: self.create_handlers.clone(),
            connected: self.connected.clone(),
            #[cfg(feature = "middleware")]
            layers: self.layers.clone(),
            #[cfg(feature = "middleware")]
            connect_layers: self.connect_layers.clone(),
        }
    }
}

impl<S: BuilderState> std::fmt::Debug for ServerBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
