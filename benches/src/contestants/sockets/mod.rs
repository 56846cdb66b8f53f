//! The library, as its users write it, over one of its transports.

mod transports;

use std::{marker::PhantomData, net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use sockets::{Call, Client, Server};

use self::transports::{Tcp, Tls, Transport, Unix, Ws};
use crate::{
    contestant::Contestant,
    counter::{Counter, Member},
    payload::{News, Order},
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
    async fn ask(&self, question: Order) -> Order;
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
            socket.join(ROOM);
        }
    }

    async fn placed(&self, _: Order) {
        self.emits.add(1);
    }
}

pub struct Guest(Arc<Member>);

impl Lobby for Guest {
    async fn ask(&self, question: Order) -> Order {
        question
    }

    async fn news(&self, news: News) {
        self.0.arrived(news.sent);
    }
}

pub type OverUnix = Sockets<Unix>;
pub type OverTls = Sockets<Tls>;
pub type OverWs = Sockets<Ws>;

pub struct Sockets<T = Tcp>(PhantomData<T>);

impl<T: Transport> Contestant for Sockets<T> {
    const NAME: &'static str = T::CONTESTANT;
    type Client = Client;
    type Server = Server<()>;

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Server<()>)> {
        let server = T::serve(Server::builder().serve(OrdersServer::new(Desk { emits }))).await?;
        Ok((server.local_addr(), server))
    }

    async fn broadcast(server: &Server<()>, news: News) -> Result<()> {
        Ok(LobbyClient::new(&server.room(ROOM)).news(news).await?)
    }

    async fn ask(server: &Server<()>, question: Order) -> Result<usize> {
        let mut replies = LobbyClient::new(&server.room(ROOM)).ask(question);
        let mut count = 0;
        while let Some((_, reply)) = replies.next().await {
            reply?;
            count += 1;
        }
        Ok(count)
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Client> {
        let (builder, url) = T::reach(Client::builder().serve(LobbyServer::new(Guest(member))), address)?;
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
