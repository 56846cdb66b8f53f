//! Stubs for values that are not targets.

use sockets::{Client, Server};

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

fn program(server: &Server, client: Client) {
    let _ = ShopClient::new(server);
    let _ = ShopClient::new("tcp://127.0.0.1:7000");
    let _ = ShopClient::new(client);
}

fn main() {}
