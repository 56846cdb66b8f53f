//! Arguments of types that cannot be sent.

use std::{borrow::Cow, fmt::Display};

#[derive(serde::Serialize, serde::Deserialize)]
struct Item(u32);

#[sockets::group("Arguments")]
trait Arguments {
    async fn opaque(&self, item: impl Display + Send) -> u32;
    async fn opaque_inside(&self, items: Vec<impl Display + Send>) -> u32;
    async fn object(&self, item: &(dyn Display + Sync)) -> u32;
    async fn boxed_object(&self, item: Box<dyn Display + Send>) -> u32;
    async fn function(&self, item: fn(u32) -> u32) -> u32;
    async fn pointer(&self, item: Option<*const u8>) -> u32;
    async fn handler(&self, item: Option<&Self>) -> u32;
    async fn mutable(&self, item: &mut Item) -> u32;
    async fn immortal(&self, item: &'static str) -> u32;
    async fn named<'buffer>(&self, item: Cow<'buffer, str>) -> u32;
    async fn mutable_inside(&self, text: Option<&mut str>) -> u32;
    async fn unpacked(&self, (item, count): (u32, u32)) -> u32;
    async fn ignored(&self, _: u32) -> u32;
    async fn changed(&self, mut item: u32) -> u32 {
        item += 1;
        item
    }
    async fn documented(
        &self,
        /// The item.
        item: u32,
    ) -> u32;
    async fn with_attributes(&self, #[serde(default)] item: u32, #[cfg(all())] count: u32) -> u32;
    async fn seventeen(
        &self,
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8,
        n: u8,
        o: u8,
        p: u8,
        q: u8,
    ) -> u32;
    /// Has two mistakes in a single argument.
    async fn twice(&self, item: (&'static str, Box<dyn Display + Send>)) -> u32;
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    let stub = ArgumentsClient::new(client);
    let sum = stub.opaque("a").await? + stub.opaque_inside(vec![1]).await? + stub.object(&1).await?;
    let sum = sum + stub.boxed_object(Box::new(1)).await? + stub.function(|of| of).await? + stub.pointer(None).await?;
    let sum = sum + stub.mutable(&mut Item(1)).await? + stub.immortal("a").await?;
    let sum = sum + stub.named(Cow::Borrowed("a")).await?;
    let sum = sum + stub.mutable_inside(None).await? + stub.unpacked((1, 2)).await?;
    let sum = sum + stub.ignored(1).await? + stub.changed(1).await? + stub.with_attributes(1, 2).await?;
    let sum = sum + stub.documented(1).await?;
    Ok(sum + stub.seventeen(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17).await?)
}

fn main() {}
