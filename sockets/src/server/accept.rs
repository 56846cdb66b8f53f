//! Accepts connections: the handshake, and the start or resumption of a session.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt, Sink, future::OptionFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Inner, Server, Socket,
    authentication::{Authenticated, establish, refuse},
    limiter::{ConnectionPermit, HandshakePermit},
};
use crate::{
    connect_error::AcceptError,
    disconnect_reason::DisconnectReason,
    driver::Driver,
    handler_context::run_hook,
    handshake::{self, PeerSettings, ResumeGrant, ResumeRequest},
    hooks,
    identity::Identity,
    lock::event,
    peer_label::PeerLabel,
    refusal::Refusal,
    session::{Declined, Peer, ResumedConnection, Routes, Session},
    transport::{BoxError, ConnectInfo, Incoming, Link, over_messages, over_stream},
};
use sockets_proto::{Token, clamp_timeout};

impl<I: Identity> Server<I> {
    /// Serves a connection over a byte stream. The client must pass the other end of the stream to
    /// [`ClientBuilder::connect_over`](crate::ClientBuilder::connect_over).
    ///
    /// The server serves the connection in the background, even if the returned future is not
    /// awaited. The future completes when the server has admitted or refused the client.
    ///
    /// # Panics
    ///
    /// The method panics if it is called outside of a tokio runtime.
    pub fn accept<S>(&self, io: S) -> Accepting<I>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(io);
        self.accept_incoming(Incoming::Open(over_stream(read, write), ConnectInfo::over("stream")))
    }

    /// Serves a connection over a stream and sink of whole messages. The client must pass the other
    /// end to
    /// [`ClientBuilder::connect_over_messages`](crate::ClientBuilder::connect_over_messages).
    ///
    /// Use this method for transports that preserve the boundaries of messages, such as a queue, a
    /// data channel or a channel within the process. The stream must meet these requirements:
    ///
    /// - Each item is a frame of the protocol. Frames must arrive in order and without duplicates.
    /// - The end of the stream is the end of the connection.
    /// - The stream should limit the size of received items to
    ///   [`Limits::max_frame`](crate::Limits::max_frame), because the library can check the size
    ///   only after their allocation.
    ///
    /// The server sends no item that is longer than the client's
    /// [`Limits::max_frame`](crate::Limits::max_frame). During the handshake, items have at most 64
    /// KiB.
    ///
    /// The server serves the connection in the background, as [`accept`](Self::accept) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use sockets::{Client, Server};
    /// use tokio_util::codec::{Framed, LengthDelimitedCodec};
    ///
    /// // Any `Stream<Item = Result<Bytes, _>>` that is a `Sink<Bytes>` can be used.
    /// let (near, far) = tokio::io::duplex(1024);
    /// let near = Framed::new(near, LengthDelimitedCodec::new());
    /// let far = Framed::new(far, LengthDelimitedCodec::new());
    ///
    /// let server = Server::builder().build();
    /// let (socket, client) = tokio::join!(
    ///     server.accept_messages(far),
    ///     Client::builder().connect_over_messages(near),
    /// );
    /// assert!(socket.unwrap().is_connected() && client.unwrap().is_connected());
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// The method panics if it is called outside of a tokio runtime.
    pub fn accept_messages<S, M, E>(&self, messages: S) -> Accepting<I>
    where
        S: Stream<Item = Result<M, E>> + Sink<Bytes, Error: Into<BoxError>> + Send + 'static,
        M: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.accept_incoming(Incoming::Open(over_messages(messages), ConnectInfo::over("messages")))
    }

    /// Waits for a handshake permit, and then serves a connection in the background.
    #[cfg(feature = "axum")]
    pub(crate) async fn accept_with_permit(&self, incoming: Incoming) {
        let permit = self.inner.limiter.acquire_handshake().await;
        self.inner.serve_in_background(incoming, permit);
    }

    pub(crate) fn accept_incoming(&self, incoming: Incoming) -> Accepting<I> {
        let (done, accepted) = oneshot::channel();
        let server = Arc::clone(&self.inner);
        spawn(async move {
            let permit = server.limiter.acquire_handshake().await;
            run_handshake(server, incoming, permit, done).await
        });
        Accepting(accepted)
    }
}

impl<I: Identity> Inner<I> {
    /// Serves a connection that has a handshake permit.
    pub(super) fn serve_in_background(self: &Arc<Self>, incoming: Incoming, permit: HandshakePermit) {
        let (done, _) = oneshot::channel();
        spawn(run_handshake(Arc::clone(self), incoming, permit, done));
    }
}

/// A future that completes when the server has admitted or refused the client of a connection. See
/// [`Server::accept`].
#[derive(Debug)]
pub struct Accepting<I>(oneshot::Receiver<Result<Socket<I>, AcceptError>>);

impl<I> Future for Accepting<I> {
    type Output = Result<Socket<I>, AcceptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|done| done.unwrap_or_else(|_| Err(AcceptError::Handshake("the authentication panicked".into()))))
    }
}

/// An admitted client that the server has not notified of the admission yet.
enum Accepted<I> {
    New(NewConnection<I>),
    /// A client that resumes its session.
    Resumed(Socket<I>),
}

/// An admitted connection for a new session.
struct NewConnection<I> {
    link: Link,
    peer_settings: PeerSettings,
    identity: I,
    info: Arc<ConnectInfo>,
    connection_permit: ConnectionPermit,
}

/// Runs a handshake and then the driver that it returns, in a single task.
fn spawn<D: Future<Output = ()> + Send + 'static>(handshake: impl Future<Output = Option<D>> + Send + 'static) {
    // `Box::pin` encloses only the handshake, so that the memory of the handshake is released when
    // the handshake ends. The driver, which lives longer, needs less memory.
    tokio::spawn(Box::pin(handshake).map(OptionFuture::from).flatten());
}

/// Performs the handshake, runs `connected`, and lets the session handle calls. Returns the driver
/// if the caller still has to run it.
async fn run_handshake<I: Identity>(
    server: Arc<Inner<I>>,
    incoming: Incoming,
    mut permit: HandshakePermit,
    done: oneshot::Sender<Result<Socket<I>, AcceptError>>,
) -> Option<impl Future<Output = ()> + Send + use<I>> {
    let accepted = match accept_connection(&server, incoming, &mut permit).await {
        Ok(accepted) => accepted,
        Err(error) => {
            event!(debug, %error, "a connection was rejected");
            // The caller may have dropped the receiver.
            let _ = done.send(Err(error));
            return None;
        }
    };
    let started = match accepted {
        Accepted::New(connection) => start(&server, connection),
        Accepted::Resumed(socket) => {
            let _ = done.send(Ok(socket));
            return None;
        }
    };
    let (socket, driver) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = done.send(Err(error));
            return None;
        }
    };
    drop(permit);
    let _ = done.send(Ok(socket.clone()));
    let session = Arc::clone(socket.session());
    if session.is_ending() {
        return Some(driver);
    }
    if server.connected.is_empty() {
        session.set_ready();
        return Some(driver);
    }
    tokio::spawn(driver);
    let limit = server.limits.connected;
    // The hooks run in a task of their own, so that their panic ends no other task.
    let hook = async move {
        for connected in &server.connected {
            connected(socket.clone()).await?;
        }
        Ok(())
    };
    let (mut hook, context) = (Box::pin(hook), Arc::clone(&session));
    let hook = poll_fn(move |cx| run_hook(&context, || hook.as_mut().poll(cx)));
    run_connected(hook, &session, limit).await;
    None
}

/// Waits for the hook, and then lets the session handle calls. If the hook fails, panics or takes
/// too long, this function ends the session.
async fn run_connected(
    hook: impl Future<Output = Result<(), Refusal>> + Send + 'static,
    session: &Session,
    limit: Duration,
) {
    let hook = tokio::spawn(hook);
    let stop = hook.abort_handle();
    let outcome = tokio::select! {
        outcome = timeout(limit, hook) => match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => {
                if let Ok(panic) = failure.try_into_panic() {
                    hooks::report("connected", session.label(), &*panic);
                }
                Err(Refusal::retry("the server failed to prepare the session"))
            }
            Err(_) => Err(Refusal::retry("the server did not prepare the session in time")),
        },
        _ = session.disconnected() => {
            stop.abort();
            return;
        }
    };
    match outcome {
        Ok(()) => session.set_ready(),
        Err(refusal) => {
            stop.abort();
            session.close(DisconnectReason::Refused(refusal));
        }
    }
}

/// Opens the connection and performs the handshake. Both together have a single time limit.
async fn accept_connection<I: Identity>(
    server: &Arc<Inner<I>>,
    incoming: Incoming,
    permit: &mut HandshakePermit,
) -> Result<Accepted<I>, AcceptError> {
    let deadline = Instant::now() + clamp_timeout(server.limits.authentication);
    let opened = timeout_at(deadline, open(incoming, permit)).await;
    let late =
        || AcceptError::Handshake("the connection was not opened in time; raise `Limits::authentication`".into());
    let (mut link, info) = opened.map_err(|_| late())??;
    let (peer_settings, authenticated) = establish(server, &mut link, info.clone(), permit, deadline).await?;
    Ok(match authenticated {
        Authenticated::New(identity, connection_permit) => {
            let info = Arc::new(info);
            Accepted::New(NewConnection { link, peer_settings, identity, info, connection_permit })
        }
        Authenticated::Resumed(socket, identity, request, token) => {
            // The driver of the session may run a handler that blocks its thread, and may therefore
            // accept the connection late. This delay must not affect other handshakes, so the
            // permit is released before.
            permit.release();
            let resuming = resume(server, &socket, (identity, info), link, peer_settings, request, token);
            let late = |_| AcceptError::Handshake("the session did not accept its next connection in time".into());
            if let Err(Declined { mut link, message }) = timeout_at(deadline, resuming).await.map_err(late)? {
                let reacquired = timeout_at(deadline, server.limiter.acquire_handshake()).await;
                *permit = reacquired.map_err(|_| AcceptError::Refused(Refusal::retry(message)))?;
                return refuse(server, &mut link, Refusal::retry(message), &peer_settings, permit).await;
            }
            Accepted::Resumed(socket)
        }
    })
}

async fn open(incoming: Incoming, permit: &mut HandshakePermit) -> Result<(Link, ConnectInfo), AcceptError> {
    match incoming {
        Incoming::Open(link, info) => Ok((link, info)),
        Incoming::Opening(opening) => {
            let revoked = || {
                Err(AcceptError::Handshake(
                    "the connection was not opened within a second, and its permit was needed for another client"
                        .into(),
                ))
            };
            permit.wait_for_peer(opening).await.unwrap_or_else(revoked)
        }
    }
}

/// Passes a new connection to a session, and waits until the session uses it.
async fn resume<I: Identity>(
    server: &Arc<Inner<I>>,
    socket: &Socket<I>,
    (identity, info): (I, ConnectInfo),
    link: Link,
    peer_settings: PeerSettings,
    request: ResumeRequest,
    token: Token,
) -> Result<(), Declined> {
    let inner = Arc::clone(server);
    let accept = move |link: Link, grant: &ResumeGrant| {
        let compression = &inner.options.compression;
        // An empty hello is invalid, so the client tries again.
        let hello = handshake::encode_accepted(&inner.limits, compression, Some(grant)).unwrap_or_default();
        (compression.wrap(link, peer_settings.supports_compression), hello)
    };
    let (declined, outcome) = oneshot::channel();
    let resumed = socket.clone();
    let adopt = move || {
        let replaced = resumed.set_connection(identity, Arc::new(ConnectInfo { is_resumption: true, ..info }));
        hooks::run("drop of an identity", resumed.session().label(), || drop(replaced));
    };
    let (adopt, accept) = (Box::new(adopt), Box::new(accept));
    socket.session().offer_connection(ResumedConnection { link, request, token, adopt, accept, declined });
    match outcome.await {
        Ok(declined) => Err(declined),
        // The session has accepted the link.
        Err(_) => Ok(()),
    }
}

/// Registers the socket and returns its driver.
fn start<I: Identity>(
    server: &Arc<Inner<I>>,
    connection: NewConnection<I>,
) -> Result<(Socket<I>, impl Future<Output = ()> + Send + use<I>), AcceptError> {
    let NewConnection { link, mut peer_settings, identity, info, connection_permit } = connection;
    let number = server.next_socket.fetch_add(1, Ordering::Relaxed);
    let token = Token::new(number).filter(|_| peer_settings.retransmit_limit.is_some());
    peer_settings.retransmit_limit = peer_settings.retransmit_limit.filter(|_| token.is_some());
    let grant = token.clone().map(|token| ResumeGrant { received: None, token });
    let accepted = handshake::encode_accepted(&server.limits, &server.options.compression, grant.as_ref())?;
    let Link { receiver, transmitter, received } =
        server.options.compression.wrap(link, peer_settings.supports_compression);
    let (limits, shared) = (Arc::clone(&server.limits), Arc::clone(&server.routes));
    let label = PeerLabel::Client { session: number, address: info.remote_addr };
    let routes = Routes::default().with_interceptor(server.interceptor.clone());
    let session = Session::new(label, transmitter, peer_settings, limits, routes, shared, false);
    session.send_server_hello(accepted);
    if let Some(token) = token {
        session.set_token(token);
    }
    if let Some(announcement) = &server.announcement {
        session.announce(announcement);
    }
    let socket = Socket::new(number, Peer::new(Arc::clone(&session)), (identity, info), Arc::clone(server));
    session.subscribe(server.fanout.log(number), number);
    session.set_detached_handlers(Arc::clone(&server.detached_handlers));
    session.set_owner::<I>(socket.downgrade());
    let inserted = server.registry.write().insert(socket.clone());
    if let Err(reason) = inserted {
        session.close(reason);
    }
    let registered = Arc::clone(server);
    let leave = move || {
        let removed = registered.registry.write().remove(number);
        drop(connection_permit);
        if let Some(socket) = removed {
            let label = socket.session().label();
            hooks::run("drop of an identity", label, || drop(socket));
        }
    };
    let mut driver = Driver::new(session, receiver, received);
    if peer_settings.retransmit_limit.is_some() {
        driver = driver.with_reattach(server.detached.clone());
    }
    Ok((socket, driver.run(leave)))
}
