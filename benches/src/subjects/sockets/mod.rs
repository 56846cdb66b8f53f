//! This library, used through its public interface, over any of its transports.

mod transports;

use std::{marker::PhantomData, net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use sockets::{Call, Client, Server};

use self::transports::{Tcp, Tls, Transport, Unix, Ws};
use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::Subject,
};

const ROOM: &str = "lobby";

#[sockets::group("Orders")]
pub trait Orders {
    async fn echo(&self, order: Order) -> Order;
    async fn large(&self, data: Bytes) -> Bytes;
    async fn join(&self, call: &Call);
    #[emit]
    async fn placed(&self, order: Order);
}

#[sockets::group("Lobby")]
pub trait Lobby {
    async fn echo(&self, order: Order) -> Order;
    #[emit]
    async fn news(&self, news: News);
}

pub struct Desk {
    emits: Arc<Counter>,
}

impl Orders for Desk {
    async fn echo(&self, order: Order) -> Order {
        order
    }

    async fn large(&self, data: Bytes) -> Bytes {
        data
    }

    async fn join(&self, call: &Call) {
        if let Some(socket) = call.socket::<()>() {
            socket.join(ROOM).expect("the client is connected");
        }
    }

    async fn placed(&self, _: Order) {
        self.emits.add(1);
    }
}

pub struct Guest(Arc<Member>);

impl Lobby for Guest {
    async fn echo(&self, order: Order) -> Order {
        order
    }

    async fn news(&self, news: News) {
        self.0.received(news.sent);
    }
}

pub type OverUnix = Sockets<Unix>;
pub type OverTls = Sockets<Tls>;
pub type OverWs = Sockets<Ws>;

pub struct Sockets<T = Tcp>(PhantomData<T>);

impl<T: Transport> Subject for Sockets<T> {
    const NAME: &'static str = T::SUBJECT;
    type Client = Client;
    type Server = Server<()>;

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Server<()>)> {
        let server = T::serve(Server::builder().serve(OrdersServer::new(Desk { emits }))).await?;
        Ok((server.local_addr(), server))
    }

    async fn broadcast(server: &Server<()>, news: News) -> Result<()> {
        Ok(LobbyClient::new(&server.room(ROOM)).news(news).await?)
    }

    async fn broadcast_request(server: &Server<()>, order: Order) -> Result<usize> {
        let mut replies = LobbyClient::new(&server.room(ROOM)).echo(order);
        let mut count = 0;
        while let Some((_, reply)) = replies.next().await {
            reply?;
            count += 1;
        }
        Ok(count)
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Client> {
        let (builder, url) = T::configure(Client::builder().serve(LobbyServer::new(Guest(member))), address)?;
        Ok(builder.connect(&url).await?)
    }

    async fn echo(client: &Client, order: Order) -> Result<Order> {
        Ok(OrdersClient::new(client).echo(order).await?)
    }

    async fn emit(client: &Client, emits: u64) -> Result<()> {
        let orders = OrdersClient::new(client);
        for id in 0..emits {
            orders.placed(Order::new(id)).await?;
        }
        Ok(())
    }

    async fn join(client: &Client) -> Result<()> {
        Ok(OrdersClient::new(client).join().await?)
    }

    async fn large(client: &Client, data: Bytes) -> Result<Bytes> {
        Ok(OrdersClient::new(client).large(data).await?)
    }
}
