//! The seam between a session and what carries it: batches of whole frames come in, an outbox goes out.

mod acceptor;
mod batch;
#[cfg_attr(not(feature = "compression"), path = "no_compression.rs")]
mod compression;
mod foreign;
mod incoming;
mod memory;
mod messages;
mod open;
mod options;
mod pool;
mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg_attr(not(unix), path = "no_unix.rs")]
mod unix;
#[cfg(feature = "ws")]
pub(crate) mod websocket;

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use crate::lock::in_transport;
use sockets_proto::{ProtocolError, SendBuffer, frame_with_prefix};

pub use self::incoming::{ConnectInfo, PeerCredentials};
#[cfg(feature = "ws")]
pub(crate) use self::websocket::Origins;
pub(crate) use self::{
    acceptor::Acceptor,
    batch::Batch,
    compression::Compression,
    foreign::{Foreign, MAGIC},
    incoming::Incoming,
    memory::pair as memory_pair,
    messages::{BoxError, over_messages},
    open::{open_at, resolve},
    options::{ClientOptions, ServerOptions},
    stream::over_stream,
};

/// Why nothing more comes in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the connection was closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Violation(#[from] ProtocolError),
}

/// The receiving half of a connection.
pub(crate) trait Receive: Send {
    /// Waits for at least one frame and returns all that have arrived whole, each with its prefix. A frame of more than
    /// `max_frame` bytes is refused before any memory is set aside for it.
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>>;

    /// How many bytes have arrived of a frame that is not whole.
    fn partial_bytes(&self) -> usize;

    /// Returns `true` while replies of the transport itself, such as pongs, wait for the peer to read. The transmitter
    /// writes them.
    fn has_unsent_replies(&self) -> bool {
        false
    }

    /// Waits until the other side has closed, and forgets whatever else it sends.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded>;
}

/// The sending half of a connection.
pub(crate) trait Transmit: Send {
    /// Writes until `outbox` is empty, and the transport's own replies, such as pongs.
    fn poll_transmit(&mut self, cx: &mut Context<'_>, outbox: &mut SendBuffer) -> Poll<io::Result<()>>;

    /// Returns how many bytes the connection has accepted, in total. A growing number shows that the peer reads.
    fn accepted(&self) -> u64;

    /// Tells the other side that nothing more will come.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A connection that is open and says nothing yet.
pub(crate) struct Link {
    pub(crate) receiver: Box<dyn Receive>,
    pub(crate) transmitter: Box<dyn Transmit>,
    /// Frames that have been received and not been handled.
    pub(crate) received: Bytes,
}

impl Link {
    pub(crate) fn new(receiver: impl Receive + 'static, transmitter: impl Transmit + 'static) -> Self {
        Self { receiver: Box::new(receiver), transmitter: Box::new(transmitter), received: Bytes::new() }
    }
}

/// How long a farewell may take to be written, and then how long the other side has to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes one half with `finish`, which writes what is left, and waits for the other side to close: a socket that is
/// dropped with unread bytes would take back what was just written.
pub(crate) async fn close_gracefully(
    receiver: &mut dyn Receive,
    mut finish: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) {
    let written = timeout(CLOSE_TIMEOUT, poll_fn(|cx| finish(cx))).await;
    if matches!(written, Ok(Ok(()))) {
        let closed = discard(|cx| in_transport(|| receiver.poll_closed(cx)));
        // A peer that keeps sending is not waited for.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}

/// Discards what a peer still sends, at a bounded rate, until it has closed the connection.
async fn discard(mut part: impl FnMut(&mut Context<'_>) -> Poll<Discarded>) {
    while poll_fn(&mut part).await == Discarded::Part {
        sleep(DISCARD_PAUSE).await;
    }
}

/// Wakes this task after all tasks that are ready and those for which I/O has arrived.
///
/// A task that wakes itself directly runs before the latter: tokio polls for I/O only after 61 such turns.
pub(crate) fn wake_after_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

/// The longest wait for [`wake_after_others`]: meanwhile the worker may be blocked, and another one idle.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// How many reads a connection discards before it pauses.
const DISCARD_AT_ONCE: u32 = 16;
/// How long it pauses. Otherwise a peer that keeps sending would keep a processor busy until [`CLOSE_TIMEOUT`] is over.
const DISCARD_PAUSE: Duration = Duration::from_millis(1);

/// What came of discarding what a peer still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// Everything: the peer has closed.
    Closed,
    /// A part: the peer may have sent more.
    Part,
}

/// Discards a part of what a peer still sends. `read` returns `false` at the end of the connection.
fn poll_discard(cx: &mut Context<'_>, mut read: impl FnMut(&mut Context<'_>) -> Poll<bool>) -> Poll<Discarded> {
    for _ in 0..DISCARD_AT_ONCE {
        if !ready!(read(cx)) {
            return Poll::Ready(Discarded::Closed);
        }
    }
    Poll::Ready(Discarded::Part)
}

/// In how many pieces a frame is in an outbox, at most: its prefix with its header, and its payload.
const PIECES: usize = 2;

/// Copies the first frame out of an outbox that holds whole ones, with its prefix.
fn take_frame(outbox: &mut SendBuffer) -> Option<Bytes> {
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let filled = outbox.slices(&mut pieces);
    let length = frame_with_prefix(&pieces[0]).filter(|length| *length <= outbox.len())?;
    let mut frame = BytesMut::with_capacity(length);
    for piece in &pieces[..filled] {
        let missing = length - frame.len();
        frame.extend_from_slice(&piece[..missing.min(piece.len())]);
    }
    outbox.advance(length);
    Some(frame.freeze())
}
