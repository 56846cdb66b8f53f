//! The subject `tonic`, which uses gRPC with protobuf over HTTP/2. Emits are a stream that the
//! client sends. A room consists of a stream for each member.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use self::wire::{
    Blob, Empty, NewsMessage, OrderMessage,
    orders_client::OrdersClient,
    orders_server::{Orders, OrdersServer},
};
use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::Subject,
    workloads::Workload,
};

/// The maximum number of streams. No workload has that many calls in flight.
const STREAMS: u32 = 4096;
/// The window in bytes. With this window, flow control does not delay a message of 1 MiB.
const WINDOW: u32 = 8 << 20;
/// The capacity of a room in messages. A room can hold a whole burst, so no member misses a
/// message.
const ROOM_BUFFER: usize = 4096;

pub mod wire {
    #![allow(clippy::pedantic, unused_qualifications, reason = "generated")]

    tonic::include_proto!("bench.Orders");

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct OrderMessage {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(string, tag = "2")]
        pub item: String,
        #[prost(uint32, tag = "3")]
        pub count: u32,
        #[prost(double, tag = "4")]
        pub price: f64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NewsMessage {
        #[prost(fixed64, tag = "1")]
        pub sent: u64,
        #[prost(string, tag = "2")]
        pub text: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Blob {
        #[prost(bytes = "bytes", tag = "1")]
        pub data: bytes::Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Empty {}
}

impl From<Order> for OrderMessage {
    fn from(Order { id, item, count, price }: Order) -> Self {
        Self { id, item, count, price }
    }
}

impl From<OrderMessage> for Order {
    fn from(OrderMessage { id, item, count, price }: OrderMessage) -> Self {
        Self { id, item, count, price }
    }
}

struct Desk {
    emits: Arc<Counter>,
    room: broadcast::Sender<NewsMessage>,
}

#[tonic::async_trait]
impl Orders for Desk {
    async fn echo(&self, request: Request<OrderMessage>) -> Result<Response<OrderMessage>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn large(&self, request: Request<Blob>) -> Result<Response<Blob>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn placed(&self, request: Request<Streaming<OrderMessage>>) -> Result<Response<Empty>, Status> {
        let mut orders = request.into_inner();
        while let Some(order) = orders.next().await {
            order?;
            self.emits.add(1);
        }
        Ok(Response::new(Empty {}))
    }

    type JoinStream = Pin<Box<dyn Stream<Item = Result<NewsMessage, Status>> + Send>>;

    async fn join(&self, _: Request<Empty>) -> Result<Response<Self::JoinStream>, Status> {
        let news = BroadcastStream::new(self.room.subscribe());
        Ok(Response::new(Box::pin(news.map(|news| news.map_err(|lagged| Status::data_loss(lagged.to_string()))))))
    }
}

#[derive(Clone)]
pub struct Connection {
    orders: OrdersClient<Channel>,
    member: Arc<Member>,
}

pub struct Tonic;

impl Subject for Tonic {
    const NAME: &'static str = "tonic";
    type Client = Connection;
    type Server = broadcast::Sender<NewsMessage>;

    /// Streams have no replies, so rooms cannot receive requests.
    fn supports(workload: Workload) -> bool {
        workload != Workload::BroadcastRequest
    }

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Self::Server)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (room, _) = broadcast::channel(ROOM_BUFFER);
        let desk = OrdersServer::new(Desk { emits, room: room.clone() });
        let server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .add_service(desk);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
        Ok((address, room))
    }

    async fn broadcast(room: &Self::Server, News { sent, text }: News) -> Result<()> {
        room.send(NewsMessage { sent, text })?;
        Ok(())
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Connection> {
        let channel = Endpoint::new(format!("http://{address}"))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .connect()
            .await?;
        Ok(Connection { orders: OrdersClient::new(channel), member })
    }

    async fn echo(client: &Connection, order: Order) -> Result<Order> {
        Ok(client.orders.clone().echo(OrderMessage::from(order)).await?.into_inner().into())
    }

    async fn emit(client: &Connection, emits: u64) -> Result<()> {
        let orders = stream::iter((0..emits).map(|id| OrderMessage::from(Order::new(id))));
        client.orders.clone().placed(orders).await?;
        Ok(())
    }

    async fn join(client: &Connection) -> Result<()> {
        let mut news = client.orders.clone().join(Empty {}).await?.into_inner();
        let member = Arc::clone(&client.member);
        tokio::spawn(async move {
            while let Some(Ok(news)) = news.next().await {
                member.received(news.sent);
            }
        });
        Ok(())
    }

    async fn large(client: &Connection, data: Bytes) -> Result<Bytes> {
        Ok(client.orders.clone().large(Blob { data }).await?.into_inner().data)
    }
}
