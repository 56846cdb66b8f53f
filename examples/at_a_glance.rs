//! The library in 50 lines: a contract with an emit and a request, a server and a client.

use sockets::{Client, Server, Socket};
use tokio::sync::Notify;

#[sockets::group("Visitors")]
trait Visitors {
    #[emit]
    async fn say(&self, text: &str);
    async fn add(&self, a: i32, b: i32) -> i32;
}

/// The server's handler for a visitor.
struct Visitor(Socket<String>);

impl Visitors for Visitor {
    async fn say(&self, text: &str) {
        println!("{} said {text}", self.0.identity());
    }

    async fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }
}

/// Notified after the disconnection has been printed.
static GONE: Notify = Notify::const_new();

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .authenticate(|name: String| async { Ok(name) })
        .serve_each(|socket| VisitorsServer::new(Visitor(socket.clone())))
        .connected(|socket: Socket<String>| async move {
            let name = socket.identity();
            println!("{name} has connected");
            socket.on_disconnect(|_| async move {
                println!("{name} has disconnected");
                GONE.notify_one();
            });
        })
        .bind("tcp://127.0.0.1:0")
        .await?;

    let client = Client::builder().auth("Ada").connect(&format!("tcp://{}", server.local_addr())).await?;
    let visitors = VisitorsClient::new(&client);
    visitors.say("Howdy").await?;
    println!("{}", visitors.add(4, 6).await?);
    drop(client);
    GONE.notified().await;
    Ok(())
}
