//! Methods that name the identity before `authenticate`.

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
    let _ = sockets::Server::builder().connected(|_| async {}).authenticate(login);
    let _ = sockets::Server::builder().serve_each(|_| ShopServer::new(Desk)).authenticate(login);
    let _ = sockets::Server::builder().layer_connecting(()).authenticate(login);
    let _ = sockets::Server::builder().authenticate(login).authenticate(login);
}
