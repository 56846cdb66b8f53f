//! A method must borrow its `Call`, and the `Call` must be the first argument.

use sockets::Call;

#[sockets::group("Calls")]
trait Calls {
    async fn second(&self, item: &str, call: &Call) -> u32;
    async fn by_value(&self, call: Call) -> u32;
    async fn mutable(&self, call: &mut Call) -> u32;
    async fn lifetime(&self, call: &'static sockets::Call) -> u32;
    async fn borrowed_twice(&self, call: &&Call) -> u32;
    async fn two(&self, call: &Call, again: &sockets::Call) -> u32;
    async fn generic(&self, call: &Call<User>, item: &str) -> u32;
    async fn generic_value(&self, call: sockets::Call<User>) -> u32;
    #[emit]
    async fn third(&self, item: &str, count: u32, call: Call);
}

struct User;

struct Me;

impl Calls for Me {
    async fn second(&self, item: &str, call: &Call) -> u32 {
        println!("{:?}", call.peer());
        item.len() as u32
    }
    async fn by_value(&self, _: Call) -> u32 {
        1
    }
    async fn mutable(&self, _: &mut Call) -> u32 {
        1
    }
    async fn lifetime(&self, _: &'static sockets::Call) -> u32 {
        1
    }
    async fn borrowed_twice(&self, _: &&Call) -> u32 {
        1
    }
    async fn two(&self, _: &Call, _: &sockets::Call) -> u32 {
        1
    }
    async fn generic(&self, _: &Call, _: &str) -> u32 {
        1
    }
    async fn generic_value(&self, _: Call) -> u32 {
        1
    }
    async fn third(&self, _: &str, _: u32, _: Call) {}
}

async fn program(socket: &sockets::Socket) -> Result<u32, sockets::CallError> {
    socket.serve(CallsServer::new(Me));
    let stub = CallsClient::new(socket);
    CallsClient::new(&socket.server().all()).third("a", 1).await?;
    Ok(stub.second("a").await? + stub.by_value().await? + stub.mutable().await? + stub.two().await? + stub.generic("a").await?)
}

fn main() {}
