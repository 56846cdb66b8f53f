//! The subject `tarpc`, which uses bincode with a length prefix over TCP.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt;
use tarpc::{
    client, context, serde_transport,
    server::{self, BaseChannel, Channel},
    tokio_util::codec::LengthDelimitedCodec,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_serde::formats::Bincode;

use crate::{
    counter::{Counter, Member},
    payload::Order,
    subject::Subject,
    workloads::Workload,
};

/// The capacity of the queues in calls. No workload has that many calls in flight.
const BUFFER: usize = 4096;

#[tarpc::service]
pub trait Orders {
    async fn echo(order: Order) -> Order;
    async fn large(data: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Desk;

impl Orders for Desk {
    async fn echo(self, _: context::Context, order: Order) -> Order {
        order
    }

    async fn large(self, _: context::Context, data: Bytes) -> Bytes {
        data
    }
}

async fn serve_connection(stream: TcpStream) {
    let framed = LengthDelimitedCodec::builder().new_framed(stream);
    let config = server::Config { pending_response_buffer: BUFFER };
    BaseChannel::new(config, serde_transport::new(framed, Bincode::default()))
        .execute(Desk.serve())
        .for_each(|call| async {
            tokio::spawn(call);
        })
        .await;
}

pub struct Tarpc;

impl Subject for Tarpc {
    const NAME: &'static str = "tarpc";
    type Client = OrdersClient;
    type Server = ();

    /// In `tarpc`, every call has a reply, and only clients can make calls.
    fn supports(workload: Workload) -> bool {
        !matches!(
            workload,
            Workload::Emit
                | Workload::BroadcastSteady
                | Workload::BroadcastBurst
                | Workload::FixedRate
                | Workload::BroadcastRequest
        )
    }

    async fn serve(_: Arc<Counter>) -> Result<(SocketAddr, ())> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true)?;
                tokio::spawn(serve_connection(stream));
            }
            anyhow::Ok(())
        });
        Ok((address, ()))
    }

    async fn connect(address: SocketAddr, _: Arc<Member>) -> Result<OrdersClient> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let mut config = client::Config::default();
        config.max_in_flight_requests = BUFFER;
        config.pending_request_buffer = BUFFER;
        Ok(OrdersClient::new(config, serde_transport::new(framed, Bincode::default())).spawn())
    }

    async fn echo(client: &OrdersClient, order: Order) -> Result<Order> {
        Ok(client.echo(context::current(), order).await?)
    }

    async fn large(client: &OrdersClient, data: Bytes) -> Result<Bytes> {
        Ok(client.large(context::current(), data).await?)
    }
}
