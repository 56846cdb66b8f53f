//! User code of every kind. Each kind calls the library.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write as _,
    future::{Future, poll_fn},
    hash::{Hash, Hasher},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use futures_util::FutureExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sockets::{Client, Identity, Peer, Server, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id as SpanId, Record},
};

use crate::WorldClient;

/// The handles through which user code calls the library.
#[derive(Clone, Default)]
struct Handles {
    servers: Vec<Server<Id>>,
    sockets: Vec<Socket<Id>>,
    peers: Vec<Peer>,
}

static HANDLES: Mutex<Handles> = Mutex::new(Handles { servers: Vec::new(), sockets: Vec::new(), peers: Vec::new() });
static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
static SENT: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Returns how often user code of this kind has called the library.
pub(crate) fn count(place: &str) -> u64 {
    COUNTS.lock().unwrap().get(place).copied().unwrap_or(0)
}

pub(crate) fn register(socket: &Socket<Id>) {
    let mut handles = HANDLES.lock().unwrap();
    handles.servers = vec![socket.server()];
    handles.sockets.push(socket.clone());
}

pub(crate) fn register_client(client: &Client) {
    HANDLES.lock().unwrap().peers.push(Peer::clone(client.as_peer()));
}

pub(crate) fn forget() {
    let handles = std::mem::take(&mut *HANDLES.lock().unwrap());
    drop(handles);
}

/// Maximum number of times that each kind of user code sends messages in a stage. Without this
/// limit, a stage would never end, because each message runs more user code, which sends messages.
const SENDS: u64 = 20;

/// Begins a stage of the test. In each stage, user code may send messages again.
pub(crate) fn stage() {
    SENT.lock().unwrap().clear();
}

/// Calls the library in every way that does not wait.
pub(crate) fn calls(place: &'static str) {
    if CALLING.replace(true) {
        return;
    }
    *COUNTS.lock().unwrap().entry(place).or_default() += 1;
    let sends = {
        let mut sent = SENT.lock().unwrap();
        let sent = sent.entry(place).or_default();
        *sent += 1;
        *sent <= SENDS
    };
    // The test holds no lock of its own while it calls the library.
    let handles = HANDLES.lock().unwrap().clone();
    for server in &handles.servers {
        let _ = (server.sockets().len(), server.rooms().len(), server.local_addrs().len());
        let _ = server.socket(&Id::quiet(1)).is_some();
        let _ = (server.room("room").sockets().len(), server.users([Id::quiet(2)]).sockets().len());
        if sends {
            let _ = WorldClient::new(&server.room("room")).log(&[1]).now_or_never();
        }
        let mut text = String::new();
        let _ = write!(text, "{server:?}");
    }
    for socket in &handles.sockets {
        let _ = socket.join("another");
        socket.leave("another");
        let _ = (socket.rooms().len(), socket.identity());
    }
    for peer in handles.sockets.iter().map(Socket::as_peer).chain(&handles.peers) {
        let _ = (peer.stats(), peer.is_connected(), peer.is_away());
        if sends {
            let _ = peer.emit("unheard", &1_u8).now_or_never();
            let _ = peer.request::<()>("unheard", &1_u8).now_or_never();
            peer.listen("received", |(): ()| async {}).stop();
        }
    }
    drop(handles);
    CALLING.set(false);
}

/// An identity.
#[derive(Debug)]
pub(crate) struct Id {
    number: u32,
    quiet: bool,
}

impl Id {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, quiet: false }
    }

    fn quiet(number: u32) -> Self {
        Self { number, quiet: true }
    }

    fn calls(&self, place: &'static str) {
        if !self.quiet {
            calls(place);
        }
    }
}

impl Identity for Id {
    type Key = Self;

    fn key(&self) -> Self {
        self.calls("key");
        self.clone()
    }
}

impl Clone for Id {
    fn clone(&self) -> Self {
        self.calls("clone");
        Self { ..*self }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.calls("eq");
        self.number == other.number
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.calls("hash");
        // All identities have the same hash, so that the library must compare them.
        0.hash(state);
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        self.calls("drop");
    }
}

/// An argument, a reply or a login that calls the library.
#[derive(Debug, PartialEq)]
pub(crate) struct Loud(pub(crate) u32);

impl Clone for Loud {
    fn clone(&self) -> Self {
        calls("clone");
        Self(self.0)
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        calls("drop");
    }
}

impl Serialize for Loud {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        calls("serialize");
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Loud {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        calls("deserialize");
        u32::deserialize(deserializer).map(Self)
    }
}

/// A waker that calls the library, and then wakes another waker.
struct LoudWaker(Waker);

impl Wake for LoudWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        calls("wake");
        self.0.wake_by_ref();
    }
}

impl Drop for LoudWaker {
    fn drop(&mut self) {
        calls("waker dropped");
    }
}

/// Polls a future with a new waker each time.
pub(crate) async fn loudly<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let waker = Waker::from(Arc::new(LoudWaker(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// A stream of bytes that calls the library.
pub(crate) struct LoudStream<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for LoudStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        calls("read");
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LoudStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        calls("write");
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        calls("shutdown");
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S> Drop for LoudStream<S> {
    fn drop(&mut self) {
        calls("stream dropped");
    }
}

/// A subscriber that calls the library on each event.
pub(crate) struct Events;

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sockets")
    }

    fn new_span(&self, _: &Attributes<'_>) -> SpanId {
        calls("span");
        SpanId::from_u64(1)
    }

    fn record(&self, _: &SpanId, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &SpanId, _: &SpanId) {}

    fn event(&self, _: &Event<'_>) {
        calls("event");
    }

    fn enter(&self, _: &SpanId) {}

    fn exit(&self, _: &SpanId) {}
}
