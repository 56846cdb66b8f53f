//! Streams of bytes and of messages that the user provides.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sockets::{AcceptError, Client, Server, Socket};
use sockets_tests::{messages, *};
use tokio::io::{AsyncWriteExt, BufStream, duplex};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

#[tokio::test]
async fn stream_is_flushed() {
    let text = "long ".repeat(1000);
    let reply = text.clone();
    let server = Server::builder().connected(move |socket: Socket| {
        let reply = reply.clone();
        socket.listen("text", move |()| std::future::ready(reply.clone()));
        async {}
    });
    let server = server.build();
    // The buffered stream takes the whole reply, but its small pipe forwards the reply in pieces.
    let (near, far) = duplex(64);
    drop(server.accept(BufStream::new(far)));
    let client = Client::builder().connect_over(near).await.unwrap();
    for _ in 0..2 {
        let asked = client.request::<String>("text", &());
        let answered = tokio::time::timeout(Duration::from_secs(10), asked).await.expect("it arrives");
        assert_eq!(answered.unwrap(), text);
    }
}

#[tokio::test]
async fn message_above_the_limit_is_refused() {
    let server = Server::builder().build();
    let (mut near, far) = messages(1 << 20);
    let accepting = server.accept_messages(far);
    near.send(&vec![0; 70_000][..]).await.unwrap();
    let answer = near.next().await.unwrap().unwrap();
    assert_eq!(answer[..4], *b"SKTS", "the answer is a server hello");
    assert!(near.next().await.is_none(), "and the connection is closed");
    drop(near);
    let refused = accepting.await.unwrap_err();
    assert!(matches!(&refused, AcceptError::Handshake(words) if words.contains("70000")), "{refused:?}");
}

#[tokio::test]
async fn message_that_cannot_be_received_ends_the_connection() {
    let server = Server::builder().build();
    let (mut near, far) = duplex(1024);
    let accepting = server.accept_messages(Framed::new(far, LengthDelimitedCodec::new()));
    near.write_all(b"\0\0\0\x09half").await.unwrap();
    drop(near);
    let failed = accepting.await.unwrap_err();
    assert!(matches!(failed, AcceptError::Io(_)), "{failed:?}");
}

#[tokio::test]
async fn stream_accepted_by_the_user_is_a_session() {
    let server = Server::builder().serve(PurchasesServer::new(Shop::unwatched())).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = server.clone();
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(accepting.accept(stream)).await.unwrap()
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = Client::builder().connect_over(stream).await.unwrap();
    assert_eq!(PurchasesClient::new(&client).get_price("sword").await, Ok(Some(10)));
    assert_eq!(server.sockets(), [accepted.await.unwrap().unwrap()]);
}
