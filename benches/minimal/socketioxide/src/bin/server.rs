//! A server with a single request.

use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("add", async |Data((a, b)): Data<(u32, u32)>, ack: AckSender| {
            ack.send(&(a + b)).ok();
        });
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:7003").await?;
    axum::serve(listener, axum::Router::new().layer(layer)).await?;
    Ok(())
}
