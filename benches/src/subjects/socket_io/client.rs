//! A minimal client of Socket.IO. It supports only protocol 5 over WebSocket.
//!
//! The published client for Rust, `rust_socketio`, writes each packet separately. That client would
//! therefore be slower than the server and limit the result. With this client, the server is the
//! bottleneck. A single task reads and writes. The task writes all queued packets in a single
//! write. It passes replies to their callers in the order in which the replies arrive.

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

/// The capacity of the queue in packets. While the queue is full, emits wait.
const QUEUE: usize = 1024;
/// The size of each connection's read buffer in bytes. It is small, since a workload may have
/// 15,000 connections.
const READ_BUFFER: usize = 16 << 10;

const PONG: &str = "3";

type Stream = WebSocketStream<TcpStream>;

/// A reply with its binary attachment.
pub struct Reply {
    pub packet: Packet,
    pub attachment: Bytes,
}

enum Outgoing {
    Emit(String),
    /// An event without its ID, together with its binary attachment.
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
            bail!("unexpected first packet: {open}");
        }
        stream.send(Message::text("40")).await?;
        loop {
            let packet = Packet::parse(stream.next().await.context("closed")??.into_text()?)?;
            match packet.kind {
                Kind::Connected => break,
                // The server `socketioxide` sends a ping immediately.
                Kind::Ping => stream.send(Message::text(PONG)).await?,
                other => bail!("unexpected {other:?} before the connection"),
            }
        }
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let waiting = Arc::default();
        let connection = Connection { stream, member, waiting: Arc::clone(&waiting), calls: HashMap::new(), next: 0 };
        tokio::spawn(async move {
            if let Err(error) = connection.run(outgoing).await {
                eprintln!("connection lost: {error:#}");
            }
        });
        Ok(Self { queue, waiting })
    }

    pub async fn emit(&self, name: &str, argument: &impl Serialize) -> Result<()> {
        let packet = format!("42[\"{name}\",{}]", serde_json::to_string(argument)?);
        self.queue.send(Outgoing::Emit(packet)).await.map_err(|_| anyhow!("disconnected"))
    }

    /// Sends an event, and waits for the acknowledgement of the event.
    pub async fn request(&self, name: &str, argument: &impl Serialize) -> Result<Reply> {
        self.exchange(format!("[\"{name}\",{}]", serde_json::to_string(argument)?), None).await
    }

    /// Sends an event with a binary argument, and waits for the acknowledgement of the event.
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
    /// The number of callers that are waiting for a reply.
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
                        // Other callers may be ready to send packets. The yield lets these callers
                        // run, so that their packets join the batch.
                        yield_now().await;
                        while let Ok(packet) = outgoing.try_recv() {
                            batch.push(packet);
                        }
                    }
                    for packet in batch.drain(..) {
                        self.write_packet(packet).await?;
                    }
                    self.stream.flush().await?;
                }
                message = self.stream.next() => {
                    let Some(message) = message else { return Ok(()) };
                    if self.handle_message(message?).await? {
                        self.stream.flush().await?;
                    }
                }
            }
        }
    }

    async fn write_packet(&mut self, packet: Outgoing) -> Result<()> {
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

    /// Handles a message. Returns `true` if the caller has to flush the stream.
    async fn handle_message(&mut self, message: Message) -> Result<bool> {
        let Message::Text(text) = message else { return Ok(false) };
        let packet = Packet::parse(text)?;
        match packet.kind {
            Kind::Ping => {
                feed(&mut self.stream, PONG.into()).await?;
                return Ok(true);
            }
            Kind::Connected => {}
            Kind::Event => return self.handle_event(&packet).await,
            Kind::Reply => self.complete(packet, Bytes::new())?,
            Kind::BinaryReply => {
                let Message::Binary(bytes) = self.stream.next().await.context("closed")?? else { bail!("no bytes") };
                self.complete(packet, bytes)?;
            }
        }
        Ok(false)
    }

    async fn handle_event(&mut self, event: &Packet) -> Result<bool> {
        if let Some(news) = event.argument_of("news") {
            self.member.received(serde_json::from_str::<News>(news)?.sent);
        } else if let (Some(order), Some(id)) = (event.argument_of("echo"), event.id) {
            let order: Order = serde_json::from_str(order)?;
            let mut reply = format!("43{id}[");
            write!(reply, "{}]", serde_json::to_string(&order)?)?;
            feed(&mut self.stream, reply).await?;
            return Ok(true);
        }
        Ok(false)
    }

    fn complete(&mut self, packet: Packet, attachment: Bytes) -> Result<()> {
        let caller = packet.id.and_then(|id| self.calls.remove(&id)).context("a reply to an unknown call")?;
        // The caller may have cancelled the call.
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
