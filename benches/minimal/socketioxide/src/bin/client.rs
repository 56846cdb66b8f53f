//! A client with a single call.

use futures_util::FutureExt;
use rust_socketio::Payload;
use rust_socketio::asynchronous::ClientBuilder;
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (opened, mut open) = mpsc::channel(1);
    let client = ClientBuilder::new("http://127.0.0.1:7003")
        .on("open", move |_, _| {
            let opened = opened.clone();
            async move { opened.send(()).await.expect("main waits") }.boxed()
        })
        .connect()
        .await?;
    open.recv().await;
    let (reply, mut sum) = mpsc::channel(1);
    let answered = move |payload: Payload, _| {
        let reply = reply.clone();
        async move { drop(reply.send(format!("{payload:?}")).await) }.boxed()
    };
    client.emit_with_ack("add", Payload::Text(vec![json!(1), json!(2)]), Duration::from_secs(2), answered).await?;
    println!("{:?}", sum.recv().await);
    Ok(())
}
