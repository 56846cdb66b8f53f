//! The subject `jsonrpsee`, which uses JSON-RPC over WebSocket. An emit is a notification. A room
//! consists of a subscription for each member.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jsonrpsee::{
    MethodResponse, PendingSubscriptionSink,
    core::{
        SubscriptionResult, async_trait,
        client::ClientT,
        middleware::{Batch, Notification, RpcServiceBuilder, RpcServiceT},
        server::SubscriptionMessage,
        to_json_raw_value,
    },
    proc_macros::rpc,
    rpc_params,
    server::{Server, ServerConfig, ServerHandle},
    types::{Params, Request},
};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};
use serde_json::value::RawValue;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::Subject,
    workloads::Workload,
};

/// The maximum number of connections. No workload opens that many connections.
const MAX_CONNECTIONS: u32 = 20_000;
/// The capacity of the queues in messages, which suffices for a whole burst.
const BUFFER: usize = 4096;

#[rpc(server, client)]
pub trait Orders {
    #[method(name = "echo")]
    async fn echo(&self, order: Order) -> jsonrpsee::core::RpcResult<Order>;

    /// The argument and the reply are encoded in base64, because JSON has no byte strings.
    #[method(name = "large")]
    async fn large(&self, data: String) -> jsonrpsee::core::RpcResult<String>;

    #[subscription(name = "join" => "news", unsubscribe = "leave", item = News)]
    async fn join(&self) -> SubscriptionResult;
}

struct Desk {
    room: broadcast::Sender<Box<RawValue>>,
}

#[async_trait]
impl OrdersServer for Desk {
    async fn echo(&self, order: Order) -> jsonrpsee::core::RpcResult<Order> {
        Ok(order)
    }

    async fn large(&self, data: String) -> jsonrpsee::core::RpcResult<String> {
        let data = STANDARD.decode(data).unwrap_or_default();
        Ok(STANDARD.encode(data))
    }

    async fn join(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let mut news = self.room.subscribe();
        let sink = pending.accept().await?;
        loop {
            tokio::select! {
                () = sink.closed() => return Ok(()),
                message = news.recv() => match message {
                    Ok(message) => sink.send(SubscriptionMessage::from(message)).await?,
                    Err(RecvError::Closed) => return Ok(()),
                    Err(lagged @ RecvError::Lagged(_)) => return Err(lagged.to_string().into()),
                },
            }
        }
    }
}

/// A middleware that handles notifications, because the server itself ignores them and offers no
/// other way to handle them.
#[derive(Clone)]
struct NotificationHandler<S> {
    inner: S,
    emits: Arc<Counter>,
}

impl<S> RpcServiceT for NotificationHandler<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse> + Send + Sync,
{
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        self.inner.call(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        self.inner.batch(batch)
    }

    fn notification<'a>(&self, sent: Notification<'a>) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        let params = Params::new(sent.params.as_deref().map(RawValue::get));
        if sent.method == "placed" && params.one::<Order>().is_ok() {
            self.emits.add(1);
        }
        self.inner.notification(sent)
    }
}

#[derive(Clone)]
pub struct Connection {
    client: Arc<WsClient>,
    member: Arc<Member>,
}

pub struct Jsonrpsee;

impl Subject for Jsonrpsee {
    const NAME: &'static str = "jsonrpsee";
    type Client = Connection;
    type Server = (ServerHandle, broadcast::Sender<Box<RawValue>>);

    /// Subscriptions have no replies, so rooms cannot receive requests.
    fn supports(workload: Workload) -> bool {
        workload != Workload::BroadcastRequest
    }

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Self::Server)> {
        let config = ServerConfig::builder()
            .ws_only()
            .max_connections(MAX_CONNECTIONS)
            .set_message_buffer_capacity(u32::try_from(BUFFER)?)
            .set_tcp_no_delay(true)
            .build();
        let middleware =
            RpcServiceBuilder::new().layer_fn(move |inner| NotificationHandler { inner, emits: Arc::clone(&emits) });
        let server = Server::builder().set_config(config).set_rpc_middleware(middleware).build("127.0.0.1:0").await?;
        let address = server.local_addr()?;
        let (room, _) = broadcast::channel(BUFFER);
        let handle = server.start(Desk { room: room.clone() }.into_rpc());
        Ok((address, (handle, room)))
    }

    async fn broadcast((_, room): &Self::Server, news: News) -> Result<()> {
        room.send(to_json_raw_value(&news)?)?;
        Ok(())
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Connection> {
        let client = WsClientBuilder::default()
            .max_concurrent_requests(BUFFER)
            .max_buffer_capacity_per_subscription(BUFFER)
            .set_tcp_no_delay(true)
            .build(format!("ws://{address}"))
            .await?;
        Ok(Connection { client: Arc::new(client), member })
    }

    async fn echo(client: &Connection, order: Order) -> Result<Order> {
        Ok(client.client.echo(order).await?)
    }

    async fn emit(client: &Connection, emits: u64) -> Result<()> {
        for id in 0..emits {
            client.client.notification("placed", rpc_params![Order::new(id)]).await?;
        }
        Ok(())
    }

    async fn join(client: &Connection) -> Result<()> {
        let mut news = OrdersClient::join(&*client.client).await?;
        let member = Arc::clone(&client.member);
        tokio::spawn(async move {
            while let Some(Ok(news)) = news.next().await {
                member.received(news.sent);
            }
        });
        Ok(())
    }

    async fn large(client: &Connection, data: Bytes) -> Result<Bytes> {
        let reply = client.client.large(STANDARD.encode(data)).await?;
        Ok(STANDARD.decode(reply)?.into())
    }
}
