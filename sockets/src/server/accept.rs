//! From a new connection to a socket.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    AuthFailure, Identity, Inner, Server, Socket,
    admission::{Connected, Turn},
};
use crate::{
    connect_error::{AcceptError, BindError, Refusal},
    disconnect_reason::DisconnectReason,
    driver::Driver,
    handshake::{self, Handshake, Theirs},
    proto::Side,
    session::{Peer, Routes, Session},
    transport::{Address, Link, over_stream},
};

/// How long a listener waits when the system has no more sockets to give.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// What one is told for whom there is no place.
const FULL: &str = "the server is full";

impl<I: Identity> Server<I> {
    /// Listens at `tcp://host:port`; port 0 lets the system choose, and [`local_addr`](Self::local_addr) tells. It may be
    /// called more than once.
    ///
    /// # Errors
    ///
    /// If the address cannot be understood or listened at, what the builder was told to serve does not go together, or
    /// the server has been shut down.
    pub async fn bind(&self, url: &str) -> Result<(), BindError> {
        self.inner.registration.clone()?;
        if self.inner.registry.read().is_closed() {
            return Err(BindError::ShutDown);
        }
        let Address::Tcp(address) = Address::parse(url)?;
        let failed = |error| BindError::Listen { address: url.to_owned(), error };
        let listener = TcpListener::bind(&address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        // Only the first one's is kept.
        let _ = self.inner.local_addr.set(local_addr);
        tokio::spawn(listen(Arc::clone(&self.inner), listener));
        Ok(())
    }

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
        self.accept_link(over_stream(read, write), "stream", None)
    }

    pub(crate) fn accept_link(
        &self,
        link: Link,
        transport: &'static str,
        peer_addr: Option<SocketAddr>,
    ) -> Accepting<I> {
        let (done, accepted) = oneshot::channel();
        let server = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let turn = server.admission.enter().await;
            serve(server, link, Handshake { peer_addr, transport }, turn, done).await;
        });
        Accepting(accepted)
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

/// Takes connections until the server stops.
async fn listen<I: Identity>(server: Arc<Inner<I>>, listener: TcpListener) {
    let stop = server.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer_addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        // Those behind it wait in the system's queue.
        let turn = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            turn = server.admission.enter() => turn,
        };
        accept_tcp(&server, stream, peer_addr, turn);
    }
}

fn accept_tcp<I: Identity>(server: &Arc<Inner<I>>, stream: TcpStream, peer_addr: SocketAddr, turn: Turn) {
    // Messages are gathered before they are written; the system must not wait for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost before it began");
        return;
    }
    let (read, write) = stream.into_split();
    let handshake = Handshake { peer_addr: Some(peer_addr), transport: "tcp" };
    let (done, _) = oneshot::channel();
    tokio::spawn(serve(Arc::clone(server), over_stream(read, write), handshake, turn, done));
}

/// Lets a connection in, runs `connected` for it, and opens the gate for its calls.
async fn serve<I: Identity>(
    server: Arc<Inner<I>>,
    mut link: Link,
    handshake: Handshake,
    mut turn: Turn,
    done: oneshot::Sender<Result<Socket<I>, AcceptError>>,
) {
    let limit = server.limits.authentication;
    let admitted = match timeout(limit, admit(&server, &mut link, handshake, &mut turn)).await {
        Ok(admitted) => admitted,
        Err(_) => {
            let words = "authentication took too long".to_owned();
            // The peer that said nothing may read nothing either.
            let told = timeout(limit, misunderstand(&mut link, words.clone(), &mut turn)).await;
            told.unwrap_or(Err(AcceptError::Handshake(words)))
        }
    };
    let (theirs, identity, place) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            tracing::debug!(%error, "a connection was not let in");
            // Nobody has to be waiting.
            let _ = done.send(Err(error));
            return;
        }
    };
    let socket = start(&server, link, theirs, identity, place);
    drop(turn);
    let _ = done.send(Ok(socket.clone()));
    let session = Arc::clone(socket.session());
    if session.is_ending() {
        return;
    }
    if let Some(connected) = &server.connected {
        let hook = tokio::spawn(connected(socket));
        let stop = hook.abort_handle();
        let finished = tokio::select! {
            finished = timeout(server.limits.connected, hook) => matches!(finished, Ok(Ok(()))),
            _ = session.disconnected() => false,
        };
        if !finished {
            stop.abort();
            return session.close(DisconnectReason::NotReady);
        }
    }
    session.open_gate();
}

/// The handshake, to its welcome.
async fn admit<I: Identity>(
    server: &Inner<I>,
    link: &mut Link,
    handshake: Handshake,
    turn: &mut Turn,
) -> Result<(Theirs, I, Connected), AcceptError> {
    if let Err(error) = &server.registration {
        return Err(AcceptError::Registration(error.to_string()));
    }
    let heard = turn.theirs(handshake::hear(link, &server.limits)).await;
    let (theirs, login) = heard.unwrap_or_else(|| handshake::cut_short(link))?;
    if server.admission.is_full() {
        return refuse(link, Refusal::new(FULL), turn).await;
    }
    let identity = match (server.authenticate)(&login, handshake).await {
        Ok(identity) => identity,
        Err(AuthFailure::Refused(refusal)) => return refuse(link, refusal, turn).await,
        Err(AuthFailure::Misunderstood(what)) => return misunderstand(link, what, turn).await,
    };
    if server.registry.read().is_closed() {
        return refuse(link, Refusal::new("the server is shutting down"), turn).await;
    }
    // Others may have come in meanwhile.
    let Some(place) = server.admission.take_place() else {
        return refuse(link, Refusal::new(FULL), turn).await;
    };
    handshake::welcome(link, &server.limits).await?;
    Ok((theirs, identity, place))
}

async fn refuse<T>(link: &mut Link, refusal: Refusal, turn: &mut Turn) -> Result<T, AcceptError> {
    let told = turn.theirs(handshake::refuse(link, refusal.clone())).await;
    told.unwrap_or(Err(AcceptError::Refused(refusal)))
}

async fn misunderstand<T>(link: &mut Link, what: String, turn: &mut Turn) -> Result<T, AcceptError> {
    let told = turn.theirs(handshake::misunderstand(link, what.clone())).await;
    told.unwrap_or(Err(AcceptError::Handshake(what)))
}

/// Registers the socket and starts its driver.
fn start<I: Identity>(server: &Arc<Inner<I>>, link: Link, theirs: Theirs, identity: I, place: Connected) -> Socket<I> {
    let Link { receiver, transmitter, received } = link;
    let (limits, shared) = (Arc::clone(&server.limits), Arc::clone(&server.routes));
    let routes = Routes::new(limits.names_per_peer as usize);
    let session = Session::new(Side::Server, transmitter, theirs, limits, routes, shared, false);
    if let Some(announcement) = &server.announcement {
        session.announce(announcement);
    }
    let number = server.next_socket.fetch_add(1, Ordering::Relaxed);
    let socket = Socket::new(number, Peer::new(Arc::clone(&session)), identity, Arc::clone(server));
    session.follow(server.fanout.log(number), number);
    session.set_owner(socket.downgrade());
    if !server.registry.write().insert(socket.clone()) {
        session.close(DisconnectReason::ShuttingDown);
    }
    let registered = Arc::clone(server);
    let leave = move || {
        let left = registered.registry.write().remove(number);
        drop((left, place));
    };
    tokio::spawn(Driver::new(session, receiver, received).run(leave));
    socket
}
