//! A server with a single request.

use minimal_sockets::{Sums, SumsServer};
use sockets::Server;

struct Adder;

impl Sums for Adder {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _server = Server::builder().serve(SumsServer::new(Adder)).bind("tcp://127.0.0.1:7000").await?;
    std::future::pending().await
}
