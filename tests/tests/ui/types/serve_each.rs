//! Functions for `serve_each` that return no group, or that take another socket.

use sockets::{Server, Socket};

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

struct Desk;

impl Shop for Desk {
    async fn price(&self, item: &str) -> u32 {
        item.len() as u32
    }
}

fn main() {
    let login = |login: String| async move { Ok(login) };
    let _ = Server::builder().authenticate(login).serve_each(|_| Desk).build();
    let _ = Server::builder().authenticate(login).serve_each(|_: &Socket<u32>| ShopServer::new(Desk)).build();
    let _ = Server::builder().authenticate(login).serve_each(|_: Socket<String>| ShopServer::new(Desk)).build();
    let _ = Server::builder().authenticate(login).serve_each(ShopServer::new(Desk)).build();
}
