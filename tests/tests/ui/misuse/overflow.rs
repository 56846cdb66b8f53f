//! Unknown overflow policies, and policies on methods that cannot have a policy.

#[sockets::group("Overflow")]
trait Overflow {
    #[emit(overflow = "drop")]
    async fn unknown(&self);
    #[emit(overflow = "Oldest")]
    async fn capital(&self);
    #[emit(overflow = Oldest)]
    async fn path(&self);
    #[emit(overflow = 3)]
    async fn number(&self);
    #[emit(overflow)]
    async fn nothing(&self);
    #[emit("drop_oldest")]
    async fn without_name(&self);
    #[emit(overflow = "drop_newest", overflow = "drop_oldest")]
    async fn twice(&self);
    #[request(overflow = "drop_newest")]
    async fn request(&self) -> u32;
    #[request(timeout = "2s", overflow = "drop_newest")]
    async fn request_with_timeout(&self) -> u32;
}

struct Me;

impl Overflow for Me {
    async fn unknown(&self) {}
    async fn capital(&self) {}
    async fn path(&self) {}
    async fn number(&self) {}
    async fn nothing(&self) {}
    async fn without_name(&self) {}
    async fn twice(&self) {}
    async fn request(&self) -> u32 {
        1
    }
    async fn request_with_timeout(&self) -> u32 {
        2
    }
}

async fn program(client: &sockets::Client) -> Result<(), sockets::CallError> {
    client.serve(OverflowServer::new(Me));
    let stub = OverflowClient::new(client);
    stub.unknown().await?;
    stub.twice().await?;
    println!("{}", stub.request().await?);
    Ok(())
}

fn main() {}
