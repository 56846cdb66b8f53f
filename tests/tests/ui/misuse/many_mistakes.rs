//! A group with many mistakes. The macro reports all of them in a single compilation.

#[sockets::group("Shop//Purchases", colour = "red")]
pub trait Purchases {
    const LIMIT: u32;
    #[emit]
    async fn viewed(&self, item: &str) -> bool;
    async fn take(self, item: &str) -> u32;
    async fn restock(&mut self, item: &str, count: u32);
    async fn price_of<T: serde::Serialize + Send>(&self, item: T) -> u32;
    fn count(&self) -> u32;
    async fn buy(&self, item: &str) -> u32;
    async fn buy(&self, item: &str, count: u32) -> u32;
    async fn new(&self) -> u32;
    #[emmit]
    async fn left(&self);
    #[request(timeout = "soon")]
    async fn wait(&self) -> u32;
    async fn who(&self, item: &str, call: &sockets::Call) -> u32;
    async fn sell(&self, items: impl Iterator<Item = String> + Send) -> u32;
    async fn load(&self) -> std::io::Result<u32>;
    async fn name(&self) -> &str;
}

struct Shop;

impl Purchases for Shop {
    const LIMIT: u32 = 3;
    async fn viewed(&self, item: &str) -> bool {
        item.is_empty()
    }
    async fn take(self, item: &str) -> u32 {
        item.len() as u32
    }
    async fn restock(&mut self, item: &str, count: u32) {
        println!("{item} {count}");
    }
    async fn price_of<T: serde::Serialize + Send>(&self, _: T) -> u32 {
        1
    }
    fn count(&self) -> u32 {
        1
    }
    async fn buy(&self, item: &str) -> u32 {
        item.len() as u32
    }
    async fn new(&self) -> u32 {
        1
    }
    async fn left(&self) {}
    async fn wait(&self) -> u32 {
        1
    }
    async fn who(&self, _: &str, _: &sockets::Call) -> u32 {
        1
    }
    async fn sell(&self, items: impl Iterator<Item = String> + Send) -> u32 {
        items.count() as u32
    }
    async fn load(&self) -> std::io::Result<u32> {
        Ok(1)
    }
    async fn name(&self) -> &str {
        "shop"
    }
}

async fn server() -> Result<(), Box<dyn std::error::Error>> {
    let server = sockets::Server::builder().serve(PurchasesServer::new(Shop)).bind("tcp://127.0.0.1:0").await?;
    let all = PurchasesClient::new(&server.all());
    all.left().await?;
    let mut prices = all.price_of("sword");
    while let Some((socket, price)) = prices.next().await {
        println!("{socket:?}: {}", price? + 1);
    }
    Ok(())
}

async fn client(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    let shop = PurchasesClient::new(client);
    shop.viewed("sword").await?;
    shop.restock("sword", 3).await?;
    shop.left().await?;
    println!("{}", shop.name().await?);
    let sum = shop.take("sword").await? + shop.price_of("sword").await? + shop.count().await?;
    let sum = sum + shop.buy("sword").await? + shop.wait().await? + shop.who("sword").await?;
    Ok(sum + shop.sell(["sword".to_owned()].into_iter()).await? + shop.load().await?)
}

fn main() {}
