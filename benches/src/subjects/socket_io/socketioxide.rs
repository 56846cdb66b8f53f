//! The subject `socketioxide`. It is Socket.IO in Rust, with its default parser, and uses `hyper`.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use socketioxide::{
    SocketIo, TransportType,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler,
};
use tokio::net::TcpListener;

use super::client::Client;
use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::Subject,
};

const ROOM: &str = "lobby";
/// The capacity of a client's queue in packets. The queue must hold a whole burst, because
/// otherwise emits would fail.
const BUFFER: usize = 4096;
const MAX_PAYLOAD: u64 = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Socketioxide;

impl Subject for Socketioxide {
    const NAME: &'static str = "socketioxide";
    type Client = Client;
    type Server = SocketIo;

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, SocketIo)> {
        let (service, io) = SocketIo::builder()
            .transports([TransportType::Websocket])
            .max_buffer_size(BUFFER)
            .max_payload(MAX_PAYLOAD)
            .build_svc();
        // A middleware adds the listeners, because it completes before the server notifies the
        // client of the connection. A connect handler may run later. If an event arrived before its
        // listener exists, the event would be lost, and its sender would wait forever.
        let listen = async move |socket: SocketRef| {
            socket.on("echo", async |Data(order): Data<Order>, reply: AckSender| {
                reply.send(&order).ok();
            });
            socket.on("large", async |Data(data): Data<Bytes>, reply: AckSender| {
                reply.send(&data).ok();
            });
            socket.on("join", async |socket: SocketRef, reply: AckSender| {
                socket.join(ROOM);
                reply.send(&()).ok();
            });
            socket.on("placed", async move |Data(_): Data<Order>| emits.add(1));
            Ok::<_, Infallible>(())
        };
        io.ns("/", (async || ()).with(listen));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true)?;
                let service = TowerToHyperService::new(service.clone());
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection.with_upgrades());
            }
            anyhow::Ok(())
        });
        Ok((address, io))
    }

    async fn broadcast(io: &SocketIo, news: News) -> Result<()> {
        io.to(ROOM).emit("news", &news).await.map_err(|error| anyhow!("{error}"))
    }

    async fn broadcast_request(io: &SocketIo, order: Order) -> Result<usize> {
        let replies = io.to(ROOM).timeout(TIMEOUT).emit_with_ack::<_, Order>("echo", &order).await;
        let mut replies = pin!(replies.map_err(|error| anyhow!("{error}"))?);
        let mut count = 0;
        while let Some((_, reply)) = replies.next().await {
            reply?;
            count += 1;
        }
        Ok(count)
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Client> {
        Client::connect(address, member).await
    }

    async fn echo(client: &Client, order: Order) -> Result<Order> {
        client.request("echo", &order).await?.packet.value()
    }

    async fn emit(client: &Client, emits: u64) -> Result<()> {
        for id in 0..emits {
            client.emit("placed", &Order::new(id)).await?;
        }
        Ok(())
    }

    async fn join(client: &Client) -> Result<()> {
        client.request("join", &()).await?;
        Ok(())
    }

    async fn large(client: &Client, data: Bytes) -> Result<Bytes> {
        Ok(client.request_with_bytes("large", data).await?.attachment)
    }
}
