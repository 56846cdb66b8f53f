//! The client of `ideal` and `queue`. It writes a batch of calls in a single write, and then reads
//! all replies.

use std::{future::poll_fn, io::IoSlice, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use parking_lot::Mutex as SyncMutex;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::Mutex,
    task::JoinSet,
};

use super::{
    frame::{Frame, Kind, put_frame, put_large_header, take_frame},
    incoming::{Incoming, Received},
};
use crate::{
    counter::Member,
    payload::{News, Order},
    subject::Stop,
};

const IS_MEMBER: &str = "a connection that is a member cannot make calls";
/// The size in bytes of each write of emits.
const EMIT_BATCH: usize = 32 << 10;

pub struct Batches {
    member: Arc<Member>,
    /// The stream, until the connection joins the room. Afterwards a task owns the stream and reads
    /// from it.
    stream: Mutex<Option<Stream>>,
    reader: SyncMutex<JoinSet<Result<()>>>,
}

struct Stream {
    incoming: Incoming,
    write: OwnedWriteHalf,
    out: Vec<u8>,
}

impl Batches {
    pub async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Arc<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let stream = Stream { incoming: Incoming::new(read), write, out: Vec::new() };
        Ok(Arc::new(Self { member, stream: Mutex::new(Some(stream)), reader: SyncMutex::default() }))
    }

    pub async fn echo(&self, order: Order) -> Result<Order> {
        let mut stream = self.stream.lock().await;
        let stream = stream.as_mut().context(IS_MEMBER)?;
        put_frame(&mut stream.out, Kind::Echo, 0, &order)?;
        let mut reply = None;
        let decode = |frame: Frame<'_>| {
            reply = Some(frame.decode()?);
            Ok(())
        };
        stream.exchange(1, decode).await?;
        reply.context("no reply")
    }

    pub async fn pipeline(&self, depth: usize, stop: Stop) -> Result<u64> {
        let mut stream = self.stream.lock().await;
        let stream = stream.as_mut().context(IS_MEMBER)?;
        let mut calls = 0;
        while !stop.is_set() {
            for lane in 0..depth {
                put_frame(&mut stream.out, Kind::Echo, u32::try_from(lane)?, &Order::new(calls + lane as u64))?;
            }
            let check = |frame: Frame<'_>| {
                ensure!(
                    frame.decode::<Order>()?.id == calls + u64::from(frame.id),
                    "the reply does not match the call"
                );
                Ok(())
            };
            stream.exchange(depth, check).await?;
            calls += depth as u64;
        }
        Ok(calls)
    }

    pub async fn emit(&self, emits: u64) -> Result<()> {
        let mut stream = self.stream.lock().await;
        let Stream { write, out, .. } = stream.as_mut().context(IS_MEMBER)?;
        for id in 0..emits {
            put_frame(out, Kind::Emit, 0, &Order::new(id))?;
            if out.len() >= EMIT_BATCH || id + 1 == emits {
                write.write_all(out).await?;
                out.clear();
            }
        }
        Ok(())
    }

    pub async fn large(&self, data: &Bytes) -> Result<Bytes> {
        let mut stream = self.stream.lock().await;
        let Stream { incoming, write, .. } = stream.as_mut().context(IS_MEMBER)?;
        let mut header = Vec::new();
        put_large_header(&mut header, Kind::Large, 0, data.len())?;
        let mut written = 0;
        while written < header.len() + data.len() {
            let rest = data.get(written.saturating_sub(header.len())..).unwrap_or_default();
            let header = header.get(written..).unwrap_or_default();
            written += write.write_vectored(&[IoSlice::new(header), IoSlice::new(rest)]).await?;
        }
        let mut reply = None;
        while reply.is_none() {
            read(incoming, |received| {
                let Received::Large(frame) = received else { bail!("a small reply to a large call") };
                reply = Some(Bytes::from(frame));
                Ok(())
            })
            .await?;
        }
        let reply = reply.context("no reply")?;
        let mut bytes = &reply[..];
        let frame = take_frame(&mut bytes)?.context("no frame")?;
        Ok(reply.slice_ref(frame.decode::<&[u8]>()?))
    }

    /// Joins the room. After this call, a task handles the messages and requests to the room.
    pub async fn join(&self) -> Result<()> {
        let mut stream = self.stream.lock().await.take().context(IS_MEMBER)?;
        put_frame(&mut stream.out, Kind::Join, 0, &())?;
        stream.exchange(1, |frame| frame.decode()).await?;
        self.reader.lock().spawn(stream.run_member(Arc::clone(&self.member)));
        Ok(())
    }
}

impl Stream {
    /// Writes the encoded frames, and then reads `replies` replies.
    async fn exchange(&mut self, replies: usize, mut handle: impl FnMut(Frame<'_>) -> Result<()>) -> Result<()> {
        self.write.write_all(&self.out).await?;
        self.out.clear();
        let mut missing = replies;
        while missing > 0 {
            read(&mut self.incoming, |received| {
                missing -= 1;
                handle(received.expect_small()?)
            })
            .await?;
        }
        Ok(())
    }

    async fn run_member(mut self, member: Arc<Member>) -> Result<()> {
        let mut replies = Vec::new();
        loop {
            read(&mut self.incoming, |received| {
                let frame = received.expect_small()?;
                match frame.kind {
                    Kind::News => member.received(frame.decode::<News>()?.sent),
                    Kind::RoomRequest => {
                        put_frame(&mut replies, Kind::RoomReply, frame.id, &frame.decode::<Order>()?)?;
                    }
                    other => bail!("unexpected {other:?} to a member"),
                }
                Ok(())
            })
            .await?;
            if !replies.is_empty() {
                self.write.write_all(&replies).await?;
                replies.clear();
            }
        }
    }
}

/// Reads once, and handles the complete frames that the read has returned.
async fn read(incoming: &mut Incoming, mut handle: impl FnMut(Received<'_>) -> Result<()>) -> Result<()> {
    let open = poll_fn(|cx| incoming.poll_frames(cx, &mut handle)).await?;
    ensure!(open, "the server has closed the connection");
    Ok(())
}
