//! Signatures that a method of a group must not have.

use std::fmt::Display;

#[sockets::group("Signatures")]
trait Signatures {
    fn plain(&self, item: &str) -> u32;
    fn plain_in_the_trait_alone(&self, item: &str) -> Option<u32>;
    fn plain_without_a_reply(&self);
    async fn generic<T: Display + Send>(&self, of: T) -> u32;
    async fn chosen_by_the_caller<T: Default + Send>(&self) -> T;
    async fn array<const N: usize>(&self, of: [u8; N]) -> u32;
    async fn lifetime<'a>(&self, item: &'a str) -> u32;
    async fn condition(&self) -> u32
    where
        Self: Sized;
    async unsafe fn dangerous(&self) -> u32;
    async extern "C" fn foreign(&self) -> u32;
    const fn constant(&self) -> u32;
    pub async fn public(&self) -> u32;
    pub(crate) async fn of_the_crate(&self) -> u32;
}

struct Me;

impl Signatures for Me {
    fn plain(&self, item: &str) -> u32 {
        item.len() as u32
    }
    async fn plain_in_the_trait_alone(&self, item: &str) -> Option<u32> {
        item.parse().ok()
    }
    fn plain_without_a_reply(&self) {}
    async fn generic<T: Display + Send>(&self, of: T) -> u32 {
        of.to_string().len() as u32
    }
    async fn chosen_by_the_caller<T: Default + Send>(&self) -> T {
        T::default()
    }
    async fn array<const N: usize>(&self, of: [u8; N]) -> u32 {
        of.len() as u32
    }
    async fn lifetime<'a>(&self, item: &'a str) -> u32 {
        item.len() as u32
    }
    async fn condition(&self) -> u32 {
        1
    }
    async unsafe fn dangerous(&self) -> u32 {
        1
    }
    async extern "C" fn foreign(&self) -> u32 {
        1
    }
    fn constant(&self) -> u32 {
        1
    }
    async fn public(&self) -> u32 {
        1
    }
    async fn of_the_crate(&self) -> u32 {
        1
    }
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    client.serve(SignaturesServer::new(Me));
    let stub = SignaturesClient::new(client);
    stub.plain_without_a_reply().await?;
    let maybe = stub.plain_in_the_trait_alone("1").await?.unwrap_or_default();
    let sum = stub.plain("a").await? + stub.generic(3).await? + stub.chosen_by_the_caller::<u32>().await?;
    let sum = sum + stub.array([1, 2]).await? + stub.lifetime("a").await? + stub.condition().await?;
    let sum = sum + stub.dangerous().await? + stub.foreign().await? + stub.constant().await?;
    Ok(maybe + sum + stub.public().await? + stub.of_the_crate().await?)
}

fn main() {}
