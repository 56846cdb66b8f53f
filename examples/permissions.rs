//! A layer on a server that allows only staff to call the groups under `Admin`.

use sockets::{
    Client, Server, Socket,
    layer::{Request, authorize},
};

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
}

#[sockets::group("Admin/Stock")]
trait Stock {
    async fn order(&self, item: &str, count: u32) -> String;
}

struct Store;

impl Shop for Store {
    async fn price(&self, item: &str) -> u32 {
        if item == "sword" { 10 } else { 1 }
    }
}

impl Stock for Store {
    async fn order(&self, item: &str, count: u32) -> String {
        format!("{count} of {item} are on their way")
    }
}

/// The identity that authentication returns.
#[derive(Clone, sockets::Identity)]
struct Person {
    #[identity(key)]
    name: String,
    staff: bool,
}

/// Allows only staff to call the groups under `Admin`.
fn staff_only(request: &Request) -> Result<(), &'static str> {
    let is_staff = request.socket().is_some_and(|socket: Socket<Person>| socket.identity().staff);
    if is_staff || !request.path().starts_with("Admin/") { Ok(()) } else { Err("only staff may order") }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .authenticate(|name: String| async move { Ok(Person { staff: name == "Ada", name }) })
        .layer(authorize(staff_only))
        .serve(ShopServer::new(Store))
        .serve(StockServer::new(Store))
        .bind("tcp://127.0.0.1:0")
        .await?;
    let url = format!("tcp://{}", server.local_addr());

    for name in ["Ada", "Ben"] {
        let client = Client::builder().auth(name).connect(&url).await?;
        println!("{name} learns that a sword costs {}", ShopClient::new(&client).price("sword").await?);
        match StockClient::new(&client).order("sword", 5).await {
            Ok(done) => println!("{name} learns that {done}"),
            Err(error) => println!("{name} orders none: {error}"),
        }
    }
    Ok(())
}
