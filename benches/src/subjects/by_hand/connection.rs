//! A connection of the server. The connection's task reads, handles each frame in place, and writes
//! all replies in a single write.

use std::{
    cell::RefCell,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::{
    broadcast_requests::BroadcastRequests,
    frame::{Frame, Kind, put_frame, set_kind, take_frame},
    incoming::{Incoming, Received},
    outgoing::Outgoing,
    shards::Shards,
};
use crate::{counter::Counter, payload::Order};

/// Maximum number of unwritten bytes of a connection. Beyond this number, the server reads no
/// frames of the connection, and removes the connection from the room.
pub const MAX_UNWRITTEN: usize = 1 << 20;

thread_local! {
    /// The replies to the frames that a single read has returned.
    static REPLIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub struct Server {
    pub emits: Arc<Counter>,
    pub room: Shards,
    pub requests: BroadcastRequests,
}

impl Server {
    pub fn new(emits: Arc<Counter>) -> Arc<Self> {
        Arc::new(Self { emits, room: Shards::start(), requests: BroadcastRequests::default() })
    }

    pub async fn accept(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut connection = Connection::new(stream, Arc::clone(&self));
            tokio::spawn(async move { poll_fn(|cx| connection.poll(cx)).await });
        }
    }
}

/// The sending half of a connection. The connection's task shares it with the room.
pub type Sender = Arc<Mutex<Outgoing>>;

struct Connection {
    incoming: Incoming,
    sender: Sender,
    server: Arc<Server>,
}

impl Connection {
    fn new(stream: TcpStream, server: Arc<Server>) -> Self {
        let (read, write) = stream.into_split();
        Self { incoming: Incoming::new(read), sender: Arc::new(Mutex::new(Outgoing::new(write))), server }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            {
                let mut outgoing = self.sender.lock();
                outgoing.set_waker(cx.waker());
                if outgoing.poll_flush(cx)?.is_ready() {
                    outgoing.release_buffer();
                } else if outgoing.len() > MAX_UNWRITTEN {
                    return Poll::Pending;
                }
            }
            if !ready!(self.poll_handle(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once, and writes all replies in a single write.
    fn poll_handle(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        let Self { incoming, sender, server } = self;
        REPLIES.with_borrow_mut(|replies| {
            replies.clear();
            let mut emitted = 0;
            let open = ready!(incoming.poll_frames(cx, |received| match received {
                Received::Frame(frame) if frame.kind == Kind::Emit => {
                    frame.decode::<Order>()?;
                    emitted += 1;
                    Ok(())
                }
                Received::Frame(frame) => handle(&frame, sender, server, replies),
                Received::Large(frame) => {
                    let mut outgoing = sender.lock();
                    outgoing.push(replies)?;
                    replies.clear();
                    Ok(outgoing.push_buffer(large_reply(frame)?)?)
                }
            }))?;
            if emitted > 0 {
                server.emits.add(emitted);
            }
            if !replies.is_empty() {
                sender.lock().push(replies)?;
            }
            Poll::Ready(Ok(open))
        })
    }
}

fn handle(frame: &Frame<'_>, sender: &Sender, server: &Server, replies: &mut Vec<u8>) -> Result<()> {
    match frame.kind {
        Kind::Echo => put_frame(replies, Kind::Reply, frame.id, &frame.decode::<Order>()?),
        Kind::Join => {
            server.room.join(Arc::clone(sender))?;
            put_frame(replies, Kind::Reply, frame.id, &())
        }
        Kind::RoomReply => server.requests.add_reply(frame.id, frame.decode()?),
        other => bail!("unexpected {other:?} from a client"),
    }
}

/// Converts a large frame to its reply. The reply has the same bytes as the frame, except for the
/// kind.
fn large_reply(mut frame: Vec<u8>) -> Result<Vec<u8>> {
    let mut bytes = &frame[..];
    match take_frame(&mut bytes)? {
        Some(whole) if whole.kind == Kind::Large => {
            whole.decode::<&[u8]>()?;
            set_kind(&mut frame, Kind::Reply);
            Ok(frame)
        }
        _ => bail!("a large frame of an unexpected kind"),
    }
}
