//! Types without one or both of serde's traits, in a contract that is served and called.

use sockets::{Client, Server};

struct Neither;

#[derive(serde::Serialize)]
struct OnlySerialize;

#[derive(serde::Deserialize)]
struct OnlyDeserialize;

#[sockets::group("Shop")]
trait Shop {
    async fn by_value(&self, item: Neither) -> u32;
    async fn serialize(&self, item: OnlySerialize, count: u32) -> u32;
    async fn deserialize(&self, count: u32, item: &OnlyDeserialize) -> u32;
    async fn inside(&self, items: Vec<Neither>) -> u32;
    async fn replies(&self) -> Neither;
    async fn replies_inside(&self) -> Option<Neither>;
    async fn succeeds(&self) -> Result<OnlySerialize, String>;
    async fn fails(&self) -> Result<u32, OnlyDeserialize>;
}

struct Desk;

impl Shop for Desk {
    async fn by_value(&self, _: Neither) -> u32 {
        1
    }
    async fn serialize(&self, _: OnlySerialize, _: u32) -> u32 {
        1
    }
    async fn deserialize(&self, _: u32, _: &OnlyDeserialize) -> u32 {
        1
    }
    async fn inside(&self, _: Vec<Neither>) -> u32 {
        1
    }
    async fn replies(&self) -> Neither {
        Neither
    }
    async fn replies_inside(&self) -> Option<Neither> {
        None
    }
    async fn succeeds(&self) -> Result<OnlySerialize, String> {
        Ok(OnlySerialize)
    }
    async fn fails(&self) -> Result<u32, OnlyDeserialize> {
        Ok(1)
    }
}

async fn program() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().serve(ShopServer::new(Desk)).bind("tcp://127.0.0.1:0").await?;
    let client = Client::builder().connect_local(&server).await?;
    let stub = ShopClient::new(&client);
    let _: u32 = stub.by_value(Neither).await? + stub.serialize(OnlySerialize, 1).await?;
    let _: Neither = stub.replies().await?;
    let _ = stub.fails().await;
    let mut replies = ShopClient::new(&server.all()).replies();
    while let Some((_, reply)) = replies.next().await {
        let _: Neither = reply?;
    }
    Ok(())
}

fn main() {}
