//! A client of Socket.IO (protocol 5, WebSocket alone) with no more to it than the workloads need, so that what is
//! measured is the server: the one client that is published for Rust sends each packet by itself and waits for it.
//!
//! One task writes and reads. It takes all that is waiting to be sent, and writes it at once; replies go to their
//! callers as they arrive, in whatever order.

use std::{
    collections::HashMap,
    fmt::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use serde::Serialize;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::yield_now,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::packet::{Kind, Packet};
use crate::{
    counter::Member,
    payload::{News, Order},
};

/// Emits wait when so many packets have not been written.
const QUEUE: usize = 1024;
/// Of each connection, and there may be 15,000.
const READ_BUFFER: usize = 16 << 10;

const PONG: &str = "3";

type Stream = WebSocketStream<TcpStream>;

/// A reply, and the bytes that came with it.
pub struct Reply {
    pub packet: Packet,
    pub attachment: Bytes,
}

enum Outgoing {
    Emit(String),
    /// An event without its number, and bytes that are to follow it.
    Request {
        event: String,
        attachment: Option<Bytes>,
        reply: oneshot::Sender<Reply>,
    },
}

#[derive(Clone)]
pub struct Client {
    queue: mpsc::Sender<Outgoing>,
    waiting: Arc<AtomicUsize>,
}

impl Client {
    pub async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (mut stream, _) = client_async_with_config(url, tcp, Some(config)).await?;
        let open = stream.next().await.context("closed")??;
        if !open.to_text()?.starts_with('0') {
            bail!("not an opening: {open}");
        }
        stream.send(Message::text("40")).await?;
        loop {
            let packet = Packet::parse(stream.next().await.context("closed")??.into_text()?)?;
            match packet.kind {
                Kind::Connected => break,
                // `socketioxide` pings at once.
                Kind::Ping => stream.send(Message::text(PONG)).await?,
                other => bail!("{other:?} before the connection"),
            }
        }
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let waiting = Arc::default();
        let connection = Connection { stream, member, waiting: Arc::clone(&waiting), calls: HashMap::new(), next: 0 };
        tokio::spawn(async move {
            if let Err(error) = connection.run(outgoing).await {
                eprintln!("a connection has ended: {error:#}");
            }
        });
        Ok(Self { queue, waiting })
    }

    pub async fn emit(&self, name: &str, argument: &impl Serialize) -> Result<()> {
        let packet = format!("42[\"{name}\",{}]", serde_json::to_string(argument)?);
        self.queue.send(Outgoing::Emit(packet)).await.map_err(|_| anyhow!("disconnected"))
    }

    /// An event that is acknowledged.
    pub async fn request(&self, name: &str, argument: &impl Serialize) -> Result<Reply> {
        self.exchange(format!("[\"{name}\",{}]", serde_json::to_string(argument)?), None).await
    }

    /// The same whose argument is bytes.
    pub async fn request_with_bytes(&self, name: &str, bytes: Bytes) -> Result<Reply> {
        self.exchange(format!(r#"["{name}",{{"_placeholder":true,"num":0}}]"#), Some(bytes)).await
    }

    async fn exchange(&self, event: String, attachment: Option<Bytes>) -> Result<Reply> {
        let (reply, received) = oneshot::channel();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let request = Outgoing::Request { event, attachment, reply };
        self.queue.send(request).await.map_err(|_| anyhow!("disconnected"))?;
        let received = received.await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(received?)
    }
}

struct Connection {
    stream: Stream,
    member: Arc<Member>,
    /// How many callers there are.
    waiting: Arc<AtomicUsize>,
    calls: HashMap<u32, oneshot::Sender<Reply>>,
    next: u32,
}

impl Connection {
    async fn run(mut self, mut outgoing: mpsc::Receiver<Outgoing>) -> Result<()> {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = outgoing.recv_many(&mut batch, QUEUE) => {
                    if count == 0 {
                        return Ok(self.stream.close(None).await?);
                    }
                    if self.waiting.load(Ordering::Relaxed) > count {
                        // Others are about to call: theirs go along.
                        yield_now().await;
                        while let Ok(more) = outgoing.try_recv() {
                            batch.push(more);
                        }
                    }
                    for packet in batch.drain(..) {
                        self.put(packet).await?;
                    }
                    self.stream.flush().await?;
                }
                message = self.stream.next() => {
                    let Some(message) = message else { return Ok(()) };
                    if self.take(message?).await? {
                        self.stream.flush().await?;
                    }
                }
            }
        }
    }

    async fn put(&mut self, packet: Outgoing) -> Result<()> {
        match packet {
            Outgoing::Emit(packet) => feed(&mut self.stream, packet).await,
            Outgoing::Request { event, attachment, reply } => {
                let id = self.next;
                self.next = self.next.wrapping_add(1);
                self.calls.insert(id, reply);
                match attachment {
                    None => feed(&mut self.stream, format!("42{id}{event}")).await,
                    Some(bytes) => {
                        feed(&mut self.stream, format!("451-{id}{event}")).await?;
                        Ok(self.stream.feed(Message::Binary(bytes)).await?)
                    }
                }
            }
        }
    }

    /// Handles a message; whether something is to be flushed.
    async fn take(&mut self, message: Message) -> Result<bool> {
        let Message::Text(text) = message else { return Ok(false) };
        let packet = Packet::parse(text)?;
        match packet.kind {
            Kind::Ping => {
                feed(&mut self.stream, PONG.into()).await?;
                return Ok(true);
            }
            Kind::Connected => {}
            Kind::Event => return self.hear(&packet).await,
            Kind::Reply => self.answer(packet, Bytes::new())?,
            Kind::BinaryReply => {
                let Message::Binary(bytes) = self.stream.next().await.context("closed")?? else { bail!("no bytes") };
                self.answer(packet, bytes)?;
            }
        }
        Ok(false)
    }

    async fn hear(&mut self, event: &Packet) -> Result<bool> {
        if let Some(news) = event.argument_of("news") {
            self.member.arrived(serde_json::from_str::<News>(news)?.sent);
        } else if let (Some(question), Some(id)) = (event.argument_of("ask"), event.id) {
            let order: Order = serde_json::from_str(question)?;
            let mut answer = format!("43{id}[");
            write!(answer, "{}]", serde_json::to_string(&order)?)?;
            feed(&mut self.stream, answer).await?;
            return Ok(true);
        }
        Ok(false)
    }

    fn answer(&mut self, packet: Packet, attachment: Bytes) -> Result<()> {
        let caller = packet.id.and_then(|id| self.calls.remove(&id)).context("a reply to no call")?;
        // Who has gone needs none.
        let _ = caller.send(Reply { packet, attachment });
        Ok(())
    }
}

async fn feed<S>(stream: &mut S, packet: String) -> Result<()>
where
    S: Sink<Message> + Unpin,
    anyhow::Error: From<S::Error>,
{
    Ok(stream.feed(Message::text(packet)).await?)
}
