//! Traits that a group must not be, and items that its trait must not contain.

#[sockets::group("Generic")]
trait Generic<T: Send + 'static> {
    async fn put(&self, item: T, of: Vec<T>) -> u32;
    async fn take(&self) -> T;
}

#[sockets::group("Lifetime")]
trait Lifetime<'a> {
    async fn ask(&self, item: &'a str) -> u32;
}

#[sockets::group("Condition")]
trait Condition
where
    Self: Sized,
{
    async fn ask(&self) -> u32;
}

#[sockets::group("Unsafe")]
unsafe trait Dangerous {
    async fn ask(&self) -> u32;
}

#[sockets::group("Members")]
trait Members {
    const LIMIT: u32;
    type Item: Send;
    methods!();
    async fn ask(&self) -> u32;
}

#[sockets::group("Twice")]
#[sockets::group("Again")]
trait Twice {
    async fn ask(&self) -> u32;
}

macro_rules! methods {
    () => {};
}
use methods;

struct Me;

impl Generic<u32> for Me {
    async fn put(&self, item: u32, of: Vec<u32>) -> u32 {
        item + of.len() as u32
    }
    async fn take(&self) -> u32 {
        1
    }
}

impl<'a> Lifetime<'a> for Me {
    async fn ask(&self, item: &'a str) -> u32 {
        item.len() as u32
    }
}

impl Condition for Me {
    async fn ask(&self) -> u32 {
        1
    }
}

unsafe impl Dangerous for Me {
    async fn ask(&self) -> u32 {
        1
    }
}

impl Members for Me {
    const LIMIT: u32 = 3;
    type Item = u32;
    async fn ask(&self) -> u32 {
        1
    }
}

impl Twice for Me {
    async fn ask(&self) -> u32 {
        1
    }
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    client.serve(GenericServer::new(Me));
    client.serve(MembersServer::new(Me));
    client.serve(LifetimeServer::new(Me));
    LifetimeClient::new(client).ask("a").await?;
    client.serve(TwiceServer::new(Me));
    let sum = GenericClient::new(client).put(1, vec![]).await? + ConditionClient::new(client).ask().await?;
    Ok(sum + MembersClient::new(client).ask().await? + DangerousClient::new(client).ask().await?)
}

fn main() {}
