//! A handler that is served without the server type of its trait, everywhere.

use sockets::{Client, Server, Socket};

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

#[derive(Clone)]
struct Desk;

impl Shop for Desk {
    async fn price(&self, item: &str) -> u32 {
        item.len() as u32
    }
}

async fn program(client: &Client, socket: &Socket) -> Result<(), Box<dyn std::error::Error>> {
    let _server = Server::builder().serve(Desk).bind("tcp://127.0.0.1:0").await?;
    let _client = Client::builder().serve(Desk).connect("tcp://127.0.0.1:1").await?;
    client.serve(Desk);
    socket.serve(Desk);
    client.as_peer().serve(Desk);
    Ok(())
}

fn main() {}
