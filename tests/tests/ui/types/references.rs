//! References and aliases of types that cannot be sent. Each has an error at its type.

use std::fmt::Debug;

struct Item;

#[derive(serde::Serialize)]
struct OnlySerialize(u32);

#[derive(serde::Deserialize)]
struct OnlyDeserialize(u32);

type Object = dyn Debug + Send + Sync;
type Items = [Item];
type Borrowed<'a> = &'a Item;
type Name = &'static str;

#[sockets::group("References")]
trait References {
    async fn value(&self, item: &Item) -> u32;
    async fn only_serialize(&self, item: &OnlySerialize) -> u32;
    async fn only_deserialize(&self, item: &OnlyDeserialize) -> u32;
    async fn slice(&self, items: &[Item]) -> u32;
    async fn alias_of_slice(&self, items: &Items) -> u32;
    async fn alias_of_object(&self, object: &Object) -> u32;
    async fn alias_of_reference(&self, item: Borrowed<'_>) -> u32;
    async fn foreign(&self, file: &std::fs::File) -> u32;
    async fn boxed(&self, object: Box<Object>) -> u32;
    async fn inside(&self, item: Option<&Item>, items: Vec<&u32>, last: Item) -> u32;
    #[emit]
    async fn emitted(&self, item: &Item);
    async fn reply(&self) -> Name;
    async fn error(&self) -> Result<u32, Name>;
}

async fn program(client: &sockets::Client) {
    let stub = ReferencesClient::new(client);
    let _ = (stub.value(&Item).await, stub.slice(&[Item]).await);
    let _ = (stub.alias_of_object(&3).await, stub.emitted(&Item).await);
    let _ = (stub.reply().await, stub.error().await);
}

struct Handler;

impl References for Handler {
    async fn value(&self, _: &Item) -> u32 {
        1
    }
    async fn only_serialize(&self, _: &OnlySerialize) -> u32 {
        1
    }
    async fn only_deserialize(&self, _: &OnlyDeserialize) -> u32 {
        1
    }
    async fn slice(&self, _: &[Item]) -> u32 {
        1
    }
    async fn alias_of_slice(&self, _: &Items) -> u32 {
        1
    }
    async fn alias_of_object(&self, _: &Object) -> u32 {
        1
    }
    async fn alias_of_reference(&self, _: Borrowed<'_>) -> u32 {
        1
    }
    async fn foreign(&self, _: &std::fs::File) -> u32 {
        1
    }
    async fn boxed(&self, _: Box<Object>) -> u32 {
        1
    }
    async fn inside(&self, _: Option<&Item>, _: Vec<&u32>, _: Item) -> u32 {
        1
    }
    async fn emitted(&self, _: &Item) {}
    async fn reply(&self) -> Name {
        "a"
    }
    async fn error(&self) -> Result<u32, Name> {
        Ok(1)
    }
}

fn main() {
    let _ = sockets::Server::builder().serve(ReferencesServer::new(Handler));
}
