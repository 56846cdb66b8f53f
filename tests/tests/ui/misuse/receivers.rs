//! A method must take `&self`. The macro rejects every other receiver.

use std::{pin::Pin, sync::Arc};

#[sockets::group("Receivers")]
trait Receivers {
    async fn by_value(self, item: &str) -> u32;
    async fn mutable(&mut self) -> u32;
    async fn arc(self: Arc<Self>) -> u32;
    async fn pinned(self: Pin<&Self>) -> u32;
    async fn lifetime<'a>(&'a self) -> u32;
    async fn none(item: &str) -> u32;
    async fn with_a_body(self) -> u32 {
        3
    }
}

struct Me(u32);

impl Receivers for Me {
    async fn by_value(self, item: &str) -> u32 {
        self.0 + item.len() as u32
    }
    async fn mutable(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
    async fn arc(self: Arc<Self>) -> u32 {
        self.0
    }
    async fn pinned(self: Pin<&Self>) -> u32 {
        self.0
    }
    async fn lifetime<'a>(&'a self) -> u32 {
        self.0
    }
    async fn none(item: &str) -> u32 {
        item.len() as u32
    }
}

async fn program(server: &sockets::Server<String>, socket: &sockets::Socket<String>) {
    socket.serve(ReceiversServer::from_arc(Arc::new(Me(0))));
    let stub = ReceiversClient::new(socket);
    let price: Result<u32, sockets::CallError> = stub.by_value("a").await;
    println!("{price:?}");
    let mut all = ReceiversClient::new(&server.all()).mutable();
    while let Some((socket, price)) = all.next().await {
        println!("{} {}", socket.identity(), price.unwrap_or(0));
    }
    let _ = stub.arc().await;
    let _ = stub.pinned().await;
    let _ = stub.lifetime().await;
    let _ = stub.with_a_body().await;
}

fn main() {}
