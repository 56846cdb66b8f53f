//! From a new connection to a socket.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
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
    Identity, Inner, Server, Socket,
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
    lock::event,
    peer_label::PeerLabel,
    refusal::Refusal,
    session::{Declined, Peer, ResumedConnection, Routes, Session},
    transport::{BoxError, ConnectInfo, Incoming, Link, over_messages, over_stream},
};
use sockets_proto::{Token, clamp_timeout};

impl<I: Identity> Server<I> {
    /// Serves one connection over a stream of bytes, whose other end is given to
    /// [`ClientBuilder::connect_over`](crate::ClientBuilder::connect_over).
    ///
    /// It begins at once. The future that it gives need not be awaited: it tells when the client has been let in.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn accept<S>(&self, io: S) -> Accepting<I>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(io);
        self.accept_incoming(Incoming::Open(over_stream(read, write), ConnectInfo::over("stream")))
    }

    /// Serves one connection over a stream and sink of whole messages, whose other end is given to
    /// [`ClientBuilder::connect_over_messages`](crate::ClientBuilder::connect_over_messages): for transports that keep
    /// the boundaries of messages, such as a queue, a data channel, or a channel within the process.
    ///
    /// Each item is one frame of the protocol. They have to arrive in their order, each once. No item that this side sends is longer
    /// than the other side's [`Limits::max_frame`](crate::Limits::max_frame), or 64 KiB before the other side is known;
    /// what comes in has been set aside by the stream before it can be measured here, so the stream should have such a
    /// limit, too. The end of the stream is the end of the connection.
    ///
    /// It begins at once, as [`accept`](Self::accept) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use sockets::{Client, Server};
    /// use tokio_util::codec::{Framed, LengthDelimitedCodec};
    ///
    /// // Anything that is a `Stream<Item = Result<Bytes, _>>` and a `Sink<Bytes>` will do.
    /// let (near, far) = tokio::io::duplex(1024);
    /// let (near, far) = (Framed::new(near, LengthDelimitedCodec::new()), Framed::new(far, LengthDelimitedCodec::new()));
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
    /// Outside of a tokio runtime.
    pub fn accept_messages<S, M, E>(&self, messages: S) -> Accepting<I>
    where
        S: Stream<Item = Result<M, E>> + Sink<Bytes, Error: Into<BoxError>> + Send + 'static,
        M: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.accept_incoming(Incoming::Open(over_messages(messages), ConnectInfo::over("messages")))
    }

    /// Serves one connection when its turn comes, which is waited for.
    #[cfg(feature = "axum")]
    pub(crate) async fn accept_with_permit(&self, arrival: Incoming) {
        let turn = self.inner.limiter.acquire_handshake().await;
        self.inner.serve_in_background(arrival, turn);
    }

    pub(crate) fn accept_incoming(&self, arrival: Incoming) -> Accepting<I> {
        let (done, accepted) = oneshot::channel();
        let server = Arc::clone(&self.inner);
        spawn(async move {
            let turn = server.limiter.acquire_handshake().await;
            run_handshake(server, arrival, turn, done).await
        });
        Accepting(accepted)
    }
}

impl<I: Identity> Inner<I> {
    /// Serves a connection whose turn has come; nobody waits for it.
    pub(super) fn serve_in_background(self: &Arc<Self>, arrival: Incoming, turn: HandshakePermit) {
        let (done, _) = oneshot::channel();
        spawn(run_handshake(Arc::clone(self), arrival, turn, done));
    }
}

/// A connection that is being let in; see [`Server::accept`].
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

/// Who may come in, and has not been told yet.
enum Accepted<I> {
    New(NewConnection<I>),
    /// One who goes on with its session.
    Resumed(Socket<I>),
}

/// A connection that is going to have a session of its own.
struct NewConnection<I> {
    link: Link,
    theirs: PeerSettings,
    identity: I,
    address: Option<SocketAddr>,
    place: ConnectionPermit,
}

/// Runs a connection's beginning and then the driver that it gives, in one task.
fn spawn<D: Future<Output = ()> + Send + 'static>(beginning: impl Future<Output = Option<D>> + Send + 'static) {
    // Boxed, and in one place with the driver: that lives long, and has no use for the room that a beginning takes.
    tokio::spawn(Box::pin(beginning).map(OptionFuture::from).flatten());
}

/// Lets a connection in, runs `connected` for it, and opens the gate for its calls. Gives the driver, unless it runs already.
async fn run_handshake<I: Identity>(
    server: Arc<Inner<I>>,
    arrival: Incoming,
    mut turn: HandshakePermit,
    done: oneshot::Sender<Result<Socket<I>, AcceptError>>,
) -> Option<impl Future<Output = ()> + Send + use<I>> {
    let admitted = match accept_connection(&server, arrival, &mut turn).await {
        Ok(admitted) => admitted,
        Err(error) => {
            event!(debug, %error, "a connection was not let in");
            // Nobody has to be waiting.
            let _ = done.send(Err(error));
            return None;
        }
    };
    let started = match admitted {
        Accepted::New(newcomer) => start(&server, newcomer),
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
    drop(turn);
    let _ = done.send(Ok(socket.clone()));
    let session = Arc::clone(socket.session());
    if session.is_ending() {
        return Some(driver);
    }
    if server.connected.is_none() {
        session.set_ready();
        return Some(driver);
    }
    tokio::spawn(driver);
    let limit = server.limits.connected;
    // The hook is called in its own task, which a panic ends alone.
    let hook = async move {
        match &server.connected {
            Some(connected) => connected(socket).await,
            None => Ok(()),
        }
    };
    let (mut hook, context) = (Box::pin(hook), Arc::clone(&session));
    let hook = poll_fn(move |cx| run_hook(&context, || hook.as_mut().poll(cx)));
    run_connected(hook, &session, limit).await;
    None
}

/// Opens the gate when the hook has finished. If it fails, panics or takes too long, the session ends.
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

/// Opens the connection and makes the handshake, within one limit of time.
async fn accept_connection<I: Identity>(
    server: &Arc<Inner<I>>,
    arrival: Incoming,
    turn: &mut HandshakePermit,
) -> Result<Accepted<I>, AcceptError> {
    let deadline = Instant::now() + clamp_timeout(server.limits.authentication);
    let opened = timeout_at(deadline, open(arrival, turn)).await;
    let late = || AcceptError::Handshake("the connection was not opened in time".into());
    let (mut link, handshake) = opened.map_err(|_| late())??;
    let address = handshake.peer_addr;
    let (theirs, entry) = establish(server, &mut link, handshake, turn, deadline).await?;
    Ok(match entry {
        Authenticated::New(identity, place) => Accepted::New(NewConnection { link, theirs, identity, address, place }),
        Authenticated::Resumed(socket, identity, claim, token) => {
            // A driver whose handlers block their thread takes its time, which is not at the cost of other handshakes.
            turn.release();
            let resumed = resume(server, &socket, identity, link, theirs, claim, token);
            let late = |_| AcceptError::Handshake("the session did not take its next connection in time".into());
            if let Err(Declined { mut link, message }) = timeout_at(deadline, resumed).await.map_err(late)? {
                let again = timeout_at(deadline, server.limiter.acquire_handshake()).await;
                *turn = again.map_err(|_| AcceptError::Refused(Refusal::retry(message)))?;
                return refuse(server, &mut link, Refusal::retry(message), &theirs, turn).await;
            }
            Accepted::Resumed(socket)
        }
    })
}

async fn open(arrival: Incoming, turn: &mut HandshakePermit) -> Result<(Link, ConnectInfo), AcceptError> {
    match arrival {
        Incoming::Open(link, handshake) => Ok((link, handshake)),
        Incoming::Opening(opening) => {
            let lost = || Err(AcceptError::Handshake("others were waiting, and the connection did not open".into()));
            turn.wait_for_peer(opening).await.unwrap_or_else(lost)
        }
    }
}

/// Gives a session its client's next connection, and waits until the session uses it.
async fn resume<I: Identity>(
    server: &Arc<Inner<I>>,
    socket: &Socket<I>,
    identity: I,
    link: Link,
    theirs: PeerSettings,
    claim: ResumeRequest,
    token: Token,
) -> Result<(), Declined> {
    let greeter = Arc::clone(server);
    let welcome = move |link: Link, granted: &ResumeGrant| {
        let compression = &greeter.options.compression;
        // One that cannot be encoded is not understood, so that the client tries again.
        let welcome = handshake::welcome(&greeter.limits, compression, Some(granted)).unwrap_or_default();
        (compression.around(link, theirs.supports_compression), welcome)
    };
    let (declined, answer) = oneshot::channel();
    let adopted = socket.clone();
    let adopt = move || {
        let replaced = adopted.replace_identity(Arc::new(identity));
        hooks::run("drop of an identity", adopted.session().label(), || drop(replaced));
    };
    let (adopt, welcome) = (Box::new(adopt), Box::new(welcome));
    socket.session().offer_connection(ResumedConnection {
        link,
        request: claim,
        token,
        adopt,
        accept: welcome,
        declined,
    });
    match answer.await {
        Ok(declined) => Err(declined),
        // The session has taken the link.
        Err(_) => Ok(()),
    }
}

/// Registers the socket, and gives its driver.
fn start<I: Identity>(
    server: &Arc<Inner<I>>,
    newcomer: NewConnection<I>,
) -> Result<(Socket<I>, impl Future<Output = ()> + Send + use<I>), AcceptError> {
    let NewConnection { link, mut theirs, identity, address, place } = newcomer;
    let number = server.next_socket.fetch_add(1, Ordering::Relaxed);
    let token = Token::new(number).filter(|_| theirs.retransmit_limit.is_some());
    theirs.retransmit_limit = theirs.retransmit_limit.filter(|_| token.is_some());
    let granted = token.clone().map(|token| ResumeGrant { received: None, token });
    let welcome = handshake::welcome(&server.limits, &server.options.compression, granted.as_ref())?;
    let Link { receiver, transmitter, received } = server.options.compression.around(link, theirs.supports_compression);
    let (limits, shared) = (Arc::clone(&server.limits), Arc::clone(&server.routes));
    let label = PeerLabel::Client { session: number, address };
    let routes = Routes::new(limits.names_per_peer as usize).with_interceptor(server.around.clone());
    let session = Session::new(label, transmitter, theirs, limits, routes, shared, false);
    session.send_server_hello(welcome);
    if let Some(token) = token {
        session.set_token(token);
    }
    if let Some(announcement) = &server.announcement {
        session.announce(announcement);
    }
    let socket = Socket::new(number, Peer::new(Arc::clone(&session)), identity, Arc::clone(server));
    session.subscribe(server.fanout.log(number), number);
    session.set_owner(socket.downgrade());
    if !server.registry.write().insert(socket.clone()) {
        session.close(DisconnectReason::ShuttingDown);
    }
    let registered = Arc::clone(server);
    let leave = move || {
        let left = registered.registry.write().remove(number);
        drop(place);
        hooks::run("drop of an identity", label, || drop(left));
    };
    let mut driver = Driver::new(session, receiver, received);
    if theirs.retransmit_limit.is_some() {
        driver = driver.with_reattach(server.detached.clone());
    }
    Ok((socket, driver.run(leave)))
}
