//! A trait in the scope of a group, with methods for every type. The names of its methods are the
//! names of the methods that generated code calls.

#![allow(clippy::should_implement_trait, dead_code, reason = "names are chosen for being in the way")]

use serde::{Deserialize, Serialize};
use sockets::{Call, CallError, Client, Server};

/// The methods take `self` by value, and so precede inherent methods that take `&self`.
trait Everything: Sized {
    fn by_reference<U: ?Sized>(self) {}
    fn by_value<U: ?Sized>(self) {}
    fn call(self) {}
    fn clone(self) {}
    fn debug_struct(self) {}
    fn decode(self) {}
    fn decode_as(self) {}
    fn done(self) {}
    fn emit(self) {}
    fn finish_non_exhaustive(self) {}
    fn handler(self) {}
    fn name(self) {}
    fn put(self) {}
    fn refuse(self) {}
    fn reply<U: ?Sized>(self) {}
    fn request(self) {}
    fn returns(self) {}
    fn start(self) {}
    fn stub(self) {}
    fn try_request(self) {}
    fn value(self) {}
    fn with_timeout(self) {}
    fn write_str(self) {}
}

impl<T> Everything for T {}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item(u32);

#[sockets::group("Shop")]
trait Shop {
    async fn sell(&self, call: &Call, item: Item, name: &str) -> Item;
    async fn look(&self, item: &Item, items: &[Item]) -> Result<u32, Item>;
    #[emit]
    async fn viewed(&self, item: &Item);
}

struct Desk;

impl Shop for Desk {
    async fn sell(&self, _: &Call, item: Item, name: &str) -> Item {
        Item(item.0 + u32::try_from(name.len()).unwrap())
    }
    async fn look(&self, item: &Item, items: &[Item]) -> Result<u32, Item> {
        items.first().map_or(Ok(item.0), |first| Err(Item(first.0)))
    }
    async fn viewed(&self, _: &Item) {}
}

#[tokio::test]
async fn trait_in_scope_does_not_change_generated_code() {
    let server = Server::builder().serve(ShopServer::new(Desk)).build();
    let client = Client::builder().serve(ShopServer::new(Desk)).connect_local(&server).await.unwrap();
    let shop = ShopClient::new(&client);
    assert_eq!(shop.viewed(&Item(1)).await, Ok(()));
    assert_eq!(shop.sell(Item(1), "ab").await, Ok(Item(3)));
    assert_eq!(shop.look(&Item(1), &[]).await, Ok(1));
    let mut replies = ShopClient::new(&server.all()).look(&Item(1), &[Item(2)]);
    assert_eq!(replies.next().await.map(|(_, reply)| reply), Some(Err(CallError::Handler(Item(2)))));
    assert_eq!(format!("{shop:?}"), "ShopClient { .. }");
    assert_eq!(format!("{:?}", ShopServer::new(Desk)), "ShopServer { .. }");
}
