//! Streams that the user brings.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use sockets::{Client, Server, Socket};
use tokio::io::{BufStream, duplex};

#[tokio::test]
async fn what_a_stream_keeps_until_it_is_flushed_arrives() {
    let text = "long ".repeat(1000);
    let reply = text.clone();
    let server = Server::builder().connected(move |socket: Socket| {
        let reply = reply.clone();
        socket.listen("text", move |()| std::future::ready(reply.clone()));
        async {}
    });
    let server = server.build();
    // It takes the whole reply, and gets rid of it piece by piece.
    let (near, far) = duplex(64);
    drop(server.accept(BufStream::new(far)));
    let client = Client::builder().connect_over(near).await.unwrap();
    for _ in 0..2 {
        let asked = client.request::<String>("text", &());
        let answered = tokio::time::timeout(Duration::from_secs(10), asked).await.expect("it arrives");
        assert_eq!(answered.unwrap(), text);
    }
}
