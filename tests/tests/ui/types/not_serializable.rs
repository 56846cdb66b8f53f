//! A type without serde's traits, as an argument, a reply, and an argument of an emit.

struct Item;

#[sockets::group("Shop")]
trait Shop {
    async fn sell(&self, item: Item, count: u32) -> u32;
    async fn show(&self) -> Item;
    #[emit]
    async fn viewed(&self, item: &Item);
}

fn main() {}
