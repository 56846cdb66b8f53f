//! A handler that does not implement the trait, and a target that cannot be called.

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

struct Desk;

async fn program(socket: &sockets::Socket) {
    socket.serve(ShopServer::new(Desk));
    let _ = ShopClient::new(&"tcp://127.0.0.1:7000");
}

fn main() {}
