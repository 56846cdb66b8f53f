//! The server.

use std::{future::ready, hint::black_box, sync::Arc};

use sockets::{Call, Server, Socket};
use tokio::sync::Notify;

use crate::{Control, ControlServer, Receipt, RoomClient, Shop, ShopServer, SoldOut, Till, TillServer, load::MESSAGE};

struct Shelves;

impl Shop for Shelves {
    async fn price(&self, item: &str) -> Option<u32> {
        (item == "sword").then_some(10)
    }

    async fn viewed(&self, item: &str) {
        black_box(item);
    }
}

struct OwnTill;

impl Till for OwnTill {
    async fn buy(&self, item: &str, count: u32, code: [u32; 4]) -> Result<Receipt, SoldOut> {
        // The array is stored across an await, so that the future of this method is larger than
        // that of the other method.
        let checked = code.map(u64::from);
        ready(()).await;
        if item != "sword" {
            return Err(SoldOut::Never);
        }
        let time = checked.iter().sum();
        if count <= 3 { Ok(Receipt { count, price: 10, time }) } else { Err(SoldOut::Left(3)) }
    }
}

struct Desk(Arc<Notify>);

impl Control for Desk {
    async fn join(&self, call: &Call) {
        if let Some(socket) = call.socket::<()>() {
            socket.join("room").expect("the client is connected");
        }
    }

    async fn broadcast(&self, call: &Call, messages: u32) {
        let Some(server) = call.server::<()>() else { return };
        let room = RoomClient::new(&server.room("room"));
        for _ in 0..messages {
            drop(room.message(MESSAGE).await);
        }
    }

    async fn stop(&self) {
        self.0.notify_one();
    }
}

/// Returns a server without a listener. Also returns the notification that stops the server.
pub fn server() -> (Server, Arc<Notify>) {
    let stopped = Arc::new(Notify::new());
    let server = Server::builder()
        .connected(|socket: Socket| async move { socket.serve(TillServer::new(OwnTill)) })
        .serve(ShopServer::new(Shelves))
        .serve(ControlServer::new(Desk(Arc::clone(&stopped))))
        .build();
    (server, stopped)
}
