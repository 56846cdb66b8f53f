//! A handler with a future that cannot move to another thread.

use std::rc::Rc;

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

struct Desk;

impl Shop for Desk {
    async fn price(&self, item: &str) -> u32 {
        let item = Rc::new(item.to_owned());
        tokio::task::yield_now().await;
        item.len() as u32
    }
}

fn main() {}
