//! Functions over targets that lack a bound, and handles that are not peers.

use sockets::{CallError, Client, IntoTarget, Peer, Socket};

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
    #[emit]
    async fn viewed(&self, item: &str);
}

/// A request needs `IntoTarget<Target = Peer>`.
async fn price_of(target: impl IntoTarget) -> Result<u32, CallError> {
    ShopClient::new(&target).price("sword").await
}

/// An emit needs `T: Target`.
async fn view<T>(shop: ShopClient<T>) -> Result<(), CallError> {
    shop.viewed("sword").await
}

fn target_of<T: IntoTarget>() {}

fn stub_of<T: sockets::Target>() {}

/// The traits are sealed.
struct Own;

impl IntoTarget for Own {
    type Target = Peer;

    fn target(&self) -> Peer {
        unimplemented!()
    }
}

fn program(client: &Client, socket: &Socket) {
    let _: [&Peer; 2] = [client, socket];
    target_of::<String>();
    stub_of::<Client>();
}

fn main() {}
