//! The subject `ideal`. It is the upper limit, and its results define the ratio 1.00.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use tokio::net::TcpListener;

use super::{
    batches::Batches,
    connection::Server,
    frame::{Kind, put_frame},
};
use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::{Stop, Subject},
};

pub struct Ideal;

impl Subject for Ideal {
    const NAME: &'static str = "ideal";
    type Client = Arc<Batches>;
    type Server = Arc<Server>;

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Arc<Server>)> {
        serve(emits).await
    }

    async fn broadcast(server: &Arc<Server>, news: News) -> Result<()> {
        let mut frame = Vec::with_capacity(256);
        put_frame(&mut frame, Kind::News, 0, &news)?;
        server.room.send(frame.into()).await
    }

    async fn broadcast_request(server: &Arc<Server>, order: Order) -> Result<usize> {
        let send = async |id| {
            let mut frame = Vec::with_capacity(64);
            put_frame(&mut frame, Kind::RoomRequest, id, &order)?;
            server.room.send(frame.into()).await
        };
        Ok(server.requests.request(server.room.members(), send).await?.len())
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Arc<Batches>> {
        Batches::connect(address, member).await
    }

    async fn echo(client: &Arc<Batches>, order: Order) -> Result<Order> {
        client.echo(order).await
    }

    async fn pipeline(client: Arc<Batches>, depth: usize, stop: Stop) -> Result<u64> {
        client.pipeline(depth, stop).await
    }

    async fn emit(client: &Arc<Batches>, emits: u64) -> Result<()> {
        client.emit(emits).await
    }

    async fn join(client: &Arc<Batches>) -> Result<()> {
        client.join().await
    }

    async fn large(client: &Arc<Batches>, data: Bytes) -> Result<Bytes> {
        client.large(&data).await
    }
}

/// Starts the server of `ideal` and `multiplexed`.
pub async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Arc<Server>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::new(emits);
    tokio::spawn(Arc::clone(&server).accept(listener));
    Ok((address, server))
}
