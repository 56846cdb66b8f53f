//! Authentication that returns a type that is no identity, and a login that cannot be decoded.

use sockets::{Refusal, Server};

struct Login;

struct Player {
    id: u64,
}

#[derive(sockets::Identity)]
struct Uncloneable {
    #[identity(key)]
    id: u64,
}

fn program() {
    let _ = Server::builder().authenticate(|id: u64| async move { Ok::<_, Refusal>(Player { id }) }).build();
    let _ = Server::builder().authenticate(|_: Login| async move { Ok::<_, Refusal>(7_u64) }).connected(|_| async {}).build();
    let _ = Server::builder().authenticate(|id: u64| async move { id }).build();
}

fn main() {}
