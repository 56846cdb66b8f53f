//! Building a server.

use std::{
    any::type_name,
    future::Future,
    hash::RandomState,
    sync::{Arc, atomic::AtomicU64},
};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{
    AuthFailure, Authenticator, ConnectedHook, HookOutcome, Identity, Inner, Server, detached::DetachedSessions,
    hook::sealed::Outcome, limiter::ConnectionLimiter, registry::Registry, socket::Socket,
};
use crate::codec::{DecodeError, decode_within};
#[cfg(feature = "middleware")]
use crate::layer::{Authentication, CallService, ConnectLayers, ConnectService, Layer, Layers, Next};
use crate::{
    broadcast::Fanout,
    connect_error::BindError,
    limits::Limits,
    lock::{Mutex, RwLock, event},
    peer_label::PeerLabel,
    refusal::Refusal,
    registration_error::RegistrationError,
    session::{Routes, Service, cannot_decode},
    transport::{ConnectInfo, ServerOptions},
};
use sockets_proto::Role;

/// How much memory a decoded login may take: so much for each of its bytes, and so much beside. It comes before the client
/// has been authenticated.
const LOGIN_FACTOR: usize = 16;
const LOGIN_FREE: usize = 64 * 1024;

/// A function that authenticates: it takes the login, or the login and a [`ConnectInfo`], and gives
/// `Result<I, UnsupportedType>` in a future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot authenticate",
    label = "write `|login: Login| async move ` or `|login: Login, handshake: Handshake| async move`, giving `Result<I, Refusal>`"
)]
pub trait Authenticate<Args, I>: Send + Sync + 'static {
    /// What the client sends.
    type Login: DeserializeOwned;

    /// Decides.
    fn authenticate(
        &self,
        login: Self::Login,
        handshake: ConnectInfo,
    ) -> impl Future<Output = Result<I, Refusal>> + Send + 'static;
}

impl<F, Fut, L, I> Authenticate<(L,), I> for F
where
    F: Fn(L) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<I, Refusal>> + Send + 'static,
    L: DeserializeOwned,
{
    type Login = L;

    fn authenticate(&self, login: L, _: ConnectInfo) -> impl Future<Output = Result<I, Refusal>> + Send + 'static {
        self(login)
    }
}

impl<F, Fut, L, I> Authenticate<(L, ConnectInfo), I> for F
where
    F: Fn(L, ConnectInfo) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<I, Refusal>> + Send + 'static,
    L: DeserializeOwned,
{
    type Login = L;

    fn authenticate(
        &self,
        login: L,
        handshake: ConnectInfo,
    ) -> impl Future<Output = Result<I, Refusal>> + Send + 'static {
        self(login, handshake)
    }
}

/// Builds a [`Server`]. `I` is the identity that [`authenticate`](ServerBuilder::authenticate) gives; without it, `()`.
#[must_use = "a builder does nothing until it is built or bound"]
pub struct ServerBuilder<I = ()> {
    limits: Limits,
    options: ServerOptions,
    services: Vec<Arc<dyn Service>>,
    authenticate: Box<Authenticator<I>>,
    connected: Option<Box<ConnectedHook<I>>>,
    #[cfg(feature = "middleware")]
    layers: Layers,
    #[cfg(feature = "middleware")]
    connect_layers: ConnectLayers<I>,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            limits: Limits::default(),
            options: ServerOptions::default(),
            services: Vec::new(),
            authenticate: Box::new(|login, handshake| {
                if !login.is_empty() {
                    let peer = PeerLabel::Connecting { address: handshake.peer_addr };
                    event!(debug, %peer, "a login is ignored: the server has no `ServerBuilder::authenticate`");
                }
                Box::pin(async { Ok(()) })
            }),
            connected: None,
            #[cfg(feature = "middleware")]
            layers: Layers::default(),
            #[cfg(feature = "middleware")]
            connect_layers: ConnectLayers::default(),
        }
    }

    /// Authenticates every client before anything else, and gives it its identity.
    ///
    /// A [`UnsupportedType`] ends the client's attempt. If `f` panics, or takes longer than [`Limits::authentication`], that is a
    /// [`UnsupportedType::retry`]. If the client disconnects meanwhile, the future that `f` returned is dropped.
    ///
    /// # Panics
    ///
    /// If [`connected`](Self::connected) has been called, whose sockets would have another identity: authenticate
    /// first. The same goes for `layer_connecting`.
    pub fn authenticate<Args, I: Identity, F: Authenticate<Args, I>>(self, f: F) -> ServerBuilder<I> {
        assert!(self.connected.is_none(), "call `authenticate` before `connected`: it decides what its sockets are");
        #[cfg(feature = "middleware")]
        assert!(self.connect_layers.is_empty(), "call `authenticate` before `layer_connecting`: that is put around it");
        let authenticate = move |login: &[u8], handshake: ConnectInfo| -> BoxFuture<'static, _> {
            match decode_within(login, LOGIN_FACTOR * login.len() + LOGIN_FREE) {
                Ok(login) => {
                    let decision = f.authenticate(login, handshake);
                    Box::pin(async move { decision.await.map_err(AuthFailure::Refused) })
                }
                Err(error) => {
                    let what = describe_login::<F::Login>(login, &error);
                    Box::pin(async { Err(AuthFailure::Misunderstood(what)) })
                }
            }
        };
        ServerBuilder {
            limits: self.limits,
            options: self.options,
            services: self.services,
            authenticate: Box::new(authenticate),
            connected: None,
            #[cfg(feature = "middleware")]
            layers: self.layers,
            #[cfg(feature = "middleware")]
            connect_layers: ConnectLayers::default(),
        }
    }
}

impl<I: Identity> ServerBuilder<I> {
    /// Runs `f` for every new session, before the client's `connect` returns and its calls are received.
    ///
    /// `f` may fail with a [`UnsupportedType`], which ends the session and is the client's error. If `f` panics, or takes longer
    /// than [`Limits::connected`], that is a [`UnsupportedType::retry`]: a client that reconnects tries again.
    pub fn connected<F, Fut>(self, f: F) -> Self
    where
        F: Fn(Socket<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HookOutcome> + Send + 'static,
    {
        let connected = move |socket| -> BoxFuture<'static, _> {
            let hook = f(socket);
            Box::pin(async move { hook.await.into_result() })
        };
        Self { connected: Some(Box::new(connected)), ..self }
    }

    /// Serves a group to all sockets, with one handler.
    pub fn serve(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Sets the limits of every connection.
    ///
    /// # Panics
    ///
    /// If a limit is below its minimum, which [`Limits`] states.
    #[track_caller]
    pub fn limits(self, limits: Limits) -> Self {
        limits.check();
        Self { limits, ..self }
    }

    /// The certificate and whatever else TLS needs, for addresses with `tls://` and `wss://`:
    /// [`tls::server_config`](crate::tls::server_config), or a configuration of [`rustls`](crate::tls::rustls).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: impl Into<Arc<crate::tls::rustls::ServerConfig>>) -> Self {
        self.options.tls = Some(config.into());
        self
    }

    /// Lets pages of these origins connect over WebSockets, and no others: `["https://example.com"]`.
    ///
    /// Browsers say which page a WebSocket is for. Unless this says otherwise, it has to come from the host that it
    /// connects to: so no other page can use what a visitor's browser is allowed to do. A page that reaches a server on
    /// its own machine under a name other than `localhost` is refused, too, since whoever owns a name can make it mean
    /// any machine; so name your origins here if there is a proxy on the same machine. Programs other than
    /// browsers say nothing of the kind, and are not asked.
    ///
    /// A page that is refused is logged as a warning, with its origin and the host that it connected to.
    #[cfg(feature = "ws")]
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.options.origins = crate::transport::Origins::allow_list(origins);
        self
    }

    /// Compresses messages of so many bytes and more, by LZ4, on connections whose client does that, too
    /// ([`ClientBuilder::compress_from`](crate::ClientBuilder::compress_from)). It is for connections that are slower than the
    /// processor. The least is 256 bytes. A message of 4 KiB or more to an audience is compressed once for all its members, and one
    /// that gets no shorter is sent as it is.
    ///
    /// What a peer sends is inflated only within [`Limits::max_frame`], and its messages count as long as they are then.
    ///
    /// Who can choose a part of a message, and see how long messages are, may guess the rest of it from that, also within TLS: do not
    /// compress secrets together with what others choose.
    #[cfg(feature = "compression")]
    pub fn compress_from(mut self, bytes: u32) -> Self {
        self.options.compression = crate::transport::Compression::from(bytes);
        self
    }

    /// Puts a layer around all handlers and listeners, also those that a single socket serves: around every call and emit that
    /// comes in. Of several, the first is the outermost. See [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.layers.add_incoming(layer);
        self
    }

    /// Puts a layer around every call and emit of this side, by stubs and by name, to a socket or to an audience; one to an audience
    /// passes it once. Questions to audiences do not pass it. Of several, the first is the outermost. See
    /// [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer_outgoing<L>(mut self, layer: L) -> Self
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.layers.add_outgoing(layer);
        self
    }

    /// Puts a layer around authentication: around everyone who connects. Of several, the first is the outermost. See
    /// [`layer`](crate::layer).
    #[cfg(feature = "middleware")]
    pub fn layer_connecting<L>(mut self, layer: L) -> Self
    where
        L: Layer<Authentication<I>, Service: ConnectService<I>> + Send + Sync + 'static,
    {
        self.connect_layers.add(layer);
        self
    }

    /// A server that listens nowhere yet. If what it serves does not go together, [`Server::bind`] says so.
    pub fn build(self) -> Server<I> {
        #[cfg(feature = "middleware")]
        let (around, authenticate) = (self.layers.around(), self.connect_layers.around(self.authenticate));
        #[cfg(not(feature = "middleware"))]
        let (around, authenticate) = (None, self.authenticate);
        let routes = Routes::new(self.limits.names_per_peer as usize).with_interceptor(around.clone());
        let (routes, registration) = register(self.services, routes);
        let limits = Arc::new(self.limits);
        Server::open(Inner {
            registry: RwLock::new(Registry::new(limits.rooms_per_socket as usize)),
            identity_hasher: RandomState::new(),
            fanout: Fanout::new(limits.outgoing_queue as usize),
            limiter: ConnectionLimiter::new(&limits),
            detached: DetachedSessions::new(&limits),
            limits,
            options: self.options,
            around,
            announcement: routes.announcement(),
            routes: Arc::new(routes),
            registration,
            authenticate,
            connected: self.connected,
            next_socket: AtomicU64::new(1),
            next_multi_call: AtomicU64::new(0),
            local_addrs: Mutex::default(),
            stop: CancellationToken::new(),
            listeners: Mutex::default(),
        })
    }

    /// A server that listens at `url`: [`build`](Self::build) and [`Server::bind`] in one.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`].
    pub async fn bind(self, url: &str) -> Result<Server<I>, BindError> {
        let server = self.build();
        server.bind(url).await?;
        Ok(server)
    }
}

/// Describes a login that cannot be decoded as `L`.
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

fn register(services: Vec<Arc<dyn Service>>, mut routes: Routes) -> (Routes, Result<(), RegistrationError>) {
    let registration = services.into_iter().try_for_each(|service| routes.serve(service));
    (routes, registration)
}

impl<I> std::fmt::Debug for ServerBuilder<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
