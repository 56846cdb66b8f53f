//! The interface between a session and its connection.
//!
//! A transport delivers batches of whole frames, and transmits a send buffer.

mod acceptor;
mod batch;
mod buffer_pool;
#[cfg_attr(not(feature = "compression"), path = "no_compression.rs")]
mod compression;
mod foreign;
mod incoming;
mod memory;
mod messages;
mod open;
mod options;
mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg_attr(not(unix), path = "no_unix.rs")]
mod unix;
#[cfg(feature = "ws")]
pub(crate) mod websocket;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::{sleep, timeout};

use crate::lock::in_transport;
use sockets_proto::{ProtocolError, SendBuffer, frame_with_prefix};

#[cfg(feature = "ws")]
pub(crate) use self::websocket::Origins;
pub(crate) use self::{
    acceptor::Acceptor,
    batch::Batch,
    compression::Compression,
    foreign::Foreign,
    incoming::Incoming,
    memory::pair as memory_pair,
    messages::over_messages,
    open::{open_at, resolve},
    options::{ClientOptions, ServerOptions},
    stream::over_stream,
};
pub use self::{
    incoming::{ConnectInfo, PeerCredentials},
    messages::BoxError,
};

/// The reason for which a connection delivers no more frames.
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
    /// Waits for a frame, and returns all complete frames. Each returned frame has its prefix.
    ///
    /// If a frame has more than `max_frame` bytes, the receiver rejects it before it allocates
    /// memory for the frame.
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>>;

    /// Returns the number of received bytes of the incomplete frame.
    fn partial_bytes(&self) -> usize;

    /// Returns `true` while replies of the transport itself, such as pongs, wait until the peer
    /// reads. The transmitter writes these replies.
    fn has_unsent_replies(&self) -> bool {
        false
    }

    /// Waits until the peer has closed the connection, and discards all received bytes.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded>;
}

/// The sending half of a connection.
pub(crate) trait Transmit: Send {
    /// Writes until `send_buffer` is empty. Also writes the transport's own replies, such as pongs.
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>>;

    /// Returns the total number of bytes that the connection has accepted.
    ///
    /// An increase shows that the peer reads.
    fn accepted(&self) -> u64;

    /// Closes the sending half.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The two halves of an open connection.
pub(crate) struct Link {
    pub(crate) receiver: Box<dyn Receive>,
    pub(crate) transmitter: Box<dyn Transmit>,
    /// Received frames that have not been handled.
    pub(crate) received: Bytes,
}

impl Link {
    pub(crate) fn new(receiver: impl Receive + 'static, transmitter: impl Transmit + 'static) -> Self {
        Self { receiver: Box::new(receiver), transmitter: Box::new(transmitter), received: Bytes::new() }
    }
}

/// Maximum time for writing the last frames. After the write, the peer has the same time to close
/// the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes the sending half, and waits until the peer closes the connection. `finish` writes the
/// last frames and closes the sending half.
///
/// The wait is needed because a TCP socket that is dropped with unread bytes resets the connection.
/// The peer could then lose the last frames.
pub(crate) async fn close_gracefully(
    receiver: &mut dyn Receive,
    mut finish: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) {
    let written = timeout(CLOSE_TIMEOUT, poll_fn(|cx| finish(cx))).await;
    if matches!(written, Ok(Ok(()))) {
        let closed = discard(|cx| in_transport(|| receiver.poll_closed(cx)));
        // A peer that keeps sending does not extend the timeout.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}

/// Discards received bytes until the peer has closed the connection, with pauses that limit the
/// rate.
async fn discard(mut poll_part: impl FnMut(&mut Context<'_>) -> Poll<Discarded>) {
    while poll_fn(&mut poll_part).await == Discarded::Part {
        sleep(DISCARD_PAUSE).await;
    }
}

/// The number of reads that a connection discards before it pauses.
const DISCARD_AT_ONCE: u32 = 16;
/// The pause after each [`DISCARD_AT_ONCE`] reads. Without the pause, a peer that keeps sending
/// would occupy a processor until [`CLOSE_TIMEOUT`] has elapsed.
const DISCARD_PAUSE: Duration = Duration::from_millis(1);

/// The result of discarding received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// The peer has closed the connection: all its bytes are discarded.
    Closed,
    /// The limit of a pass is reached: the peer may have sent more.
    Part,
}

/// Discards the bytes of up to [`DISCARD_AT_ONCE`] reads. `read` returns `false` at the end of the
/// connection.
fn poll_discard(cx: &mut Context<'_>, mut read: impl FnMut(&mut Context<'_>) -> Poll<bool>) -> Poll<Discarded> {
    for _ in 0..DISCARD_AT_ONCE {
        if !ready!(read(cx)) {
            return Poll::Ready(Discarded::Closed);
        }
    }
    Poll::Ready(Discarded::Part)
}

/// The maximum number of chunks of a frame in a send buffer. The first chunk holds the prefix and
/// the header, and the second chunk holds the payload.
const MAX_CHUNKS: usize = 2;

/// Copies the first frame out of a send buffer of whole frames. The copy includes the prefix.
fn take_frame(send_buffer: &mut SendBuffer) -> Option<Bytes> {
    let mut chunks = [IoSlice::new(&[]); MAX_CHUNKS];
    let filled = send_buffer.slices(&mut chunks);
    let length = frame_with_prefix(&chunks[0]).filter(|length| *length <= send_buffer.len())?;
    let mut frame = BytesMut::with_capacity(length);
    for chunk in &chunks[..filled] {
        let missing = length - frame.len();
        frame.extend_from_slice(&chunk[..missing.min(chunk.len())]);
    }
    send_buffer.advance(length);
    Some(frame.freeze())
}
