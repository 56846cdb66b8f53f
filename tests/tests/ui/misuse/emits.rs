//! Emits with a return type, and other misuse of `#[emit]` and `#[request]`.

#[sockets::group("Emits")]
trait Emits {
    #[emit]
    async fn answered(&self, item: &str) -> u32;
    #[emit]
    async fn unit(&self) -> ();
    #[emit(reliable)]
    async fn argument(&self);
    #[emit(timeout = "2s")]
    async fn timeout(&self);
    #[emit = "no"]
    async fn equals(&self);
    #[emit]
    #[emit]
    async fn twice(&self);
    #[emit]
    #[request(timeout = "2s")]
    async fn both(&self);
    #[sockets::emit]
    async fn with_its_path(&self);
}

struct Me;

impl Emits for Me {
    async fn answered(&self, item: &str) -> u32 {
        item.len() as u32
    }
    async fn unit(&self) -> () {}
    async fn argument(&self) {}
    async fn timeout(&self) {}
    async fn equals(&self) {}
    async fn twice(&self) {}
    async fn both(&self) {}
    async fn with_its_path(&self) {}
}

async fn program(client: &sockets::Client) -> Result<(), sockets::CallError> {
    client.serve(EmitsServer::new(Me));
    let stub = EmitsClient::new(client);
    let answer: u32 = stub.answered("a").await?;
    println!("{answer}");
    stub.unit().await?;
    stub.argument().await?;
    stub.timeout().await?;
    stub.equals().await?;
    stub.twice().await?;
    stub.both().await?;
    stub.with_its_path().await?;
    Ok(())
}

fn main() {}
