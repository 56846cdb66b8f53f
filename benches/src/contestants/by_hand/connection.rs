//! A connection on the server: one task that reads, handles every frame in place, and writes all replies at once.

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
    asks::Asks,
    frame::{Frame, Kind, put_frame, set_kind, take_frame},
    incoming::{Incoming, Received},
    outgoing::Outgoing,
    shards::Shards,
};
use crate::{counter::Counter, payload::Order};

/// So much may wait for a connection: it is not read from while more does, and a room leaves it behind.
pub const MOST_WAITING: usize = 1 << 20;

thread_local! {
    /// Where the replies of one read are gathered.
    static REPLIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub struct Server {
    pub emits: Arc<Counter>,
    pub room: Shards,
    pub asks: Asks,
}

impl Server {
    pub fn new(emits: Arc<Counter>) -> Arc<Self> {
        Arc::new(Self { emits, room: Shards::start(), asks: Asks::default() })
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

/// The sending half, which the connection's task shares with the room.
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
                    outgoing.free();
                } else if outgoing.len() > MOST_WAITING {
                    return Poll::Pending;
                }
            }
            if !ready!(self.poll_handle(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// One read, and one write of all the replies.
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
        Kind::Answer => server.asks.answer(frame.id, frame.decode()?),
        other => bail!("{other:?} from a client"),
    }
}

/// The reply to bytes is the same bytes: all that changes is the kind of the frame.
fn large_reply(mut frame: Vec<u8>) -> Result<Vec<u8>> {
    let mut bytes = &frame[..];
    match take_frame(&mut bytes)? {
        Some(whole) if whole.kind == Kind::Large => {
            whole.decode::<&[u8]>()?;
            set_kind(&mut frame, Kind::Reply);
            Ok(frame)
        }
        _ => bail!("a long frame of another kind"),
    }
}
