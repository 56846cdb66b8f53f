//! Tests that a message is compressed once.

use tokio::sync::mpsc::unbounded_channel;

use super::Server;
use crate::Client;

#[tokio::test]
async fn message_to_audience_is_compressed_once() {
    let server = Server::builder().compress_from(1000).build();
    let (sender, mut received) = unbounded_channel();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let sender = sender.clone();
        let client = Client::builder().compress_from(1000).connected(move |peer| {
            peer.listen("text", move |text: String| {
                sender.send(text).unwrap();
                async {}
            });
            async {}
        });
        clients.push(client.connect_local(&server).await.unwrap());
    }
    let text = "the same for all ".repeat(1000);
    server.all().emit("text", &text).await.unwrap();
    for _ in &clients {
        assert!(received.recv().await.unwrap() == text);
    }
    assert_eq!(server.inner.options.compression.cached(), 1);
}
