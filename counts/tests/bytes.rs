//! Counts the bytes that each kind of message takes on the wire.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use sockets::{Client, ClientBuilder, Server};
use sockets_counts::{ControlClient, Room, RoomServer, ShopClient, TillClient, runtime, server};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// A client's connection that counts the bytes in both directions.
struct Counted {
    io: DuplexStream,
    bytes: Arc<Bytes>,
}

#[derive(Default)]
struct Bytes {
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl Bytes {
    /// Returns the number of bytes that were sent since the previous call of this method, and the
    /// number of bytes that were received since then.
    fn take(&self) -> (usize, usize) {
        (self.sent.swap(0, Ordering::Relaxed), self.received.swap(0, Ordering::Relaxed))
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.bytes.received.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.bytes.sent.fetch_add(written, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Connects a client to a new server, and counts the client's bytes.
async fn connected(builder: ClientBuilder) -> (Server, Client, Arc<Bytes>) {
    let (server, _) = server();
    let (near, far) = tokio::io::duplex(1 << 16);
    drop(server.accept(far));
    let bytes = Arc::default();
    let client = builder.connect_over(Counted { io: near, bytes: Arc::clone(&bytes) }).await.unwrap();
    bytes.take();
    (server, client, bytes)
}

#[test]
fn request_has_17_bytes_and_reply_6_plus_payload() {
    runtime().block_on(async {
        let (_server, client, bytes) = connected(Client::builder()).await;
        // The client reuses the IDs of calls, so that the last call is as short as the first call.
        for _ in 0..1000 {
            ShopClient::new(&client).price("sword").await.unwrap();
            assert_eq!(bytes.take(), (17 + 1 + 5, 6 + 2));
        }
        TillClient::new(&client).buy("sword", 2, [1, 2, 3, 4]).await.unwrap();
        assert_eq!(bytes.take(), (17 + 6 + 1 + 4, 6 + 4));
    });
}

#[test]
fn emit_has_13_bytes_plus_payload_and_credit_9_for_many() {
    runtime().block_on(async {
        let (_server, client, bytes) = connected(Client::builder()).await;
        let shop = ShopClient::new(&client);
        for _ in 0..1000 {
            shop.viewed("sword").await.unwrap();
        }
        // When the reply to a later request arrives, the server has received all emits.
        shop.price("sword").await.unwrap();
        let (sent, received) = bytes.take();
        assert_eq!(sent, 1000 * (13 + 6) + 23);
        assert!(received <= 8 + 5 * 9, "{received} bytes received for a thousand emits");
    });
}

#[test]
fn broadcast_is_one_emit_for_each_member() {
    runtime().block_on(async {
        let (_server, client, bytes) = connected(Client::builder().serve(RoomServer::new(Discarding))).await;
        let control = ControlClient::new(&client);
        control.join().await.unwrap();
        bytes.take();
        control.broadcast(3).await.unwrap();
        assert_eq!(bytes.take(), (17 + 1, 3 * (13 + 2 + 128) + 6));
    });
}

struct Discarding;

impl Room for Discarding {
    async fn message(&self, _text: &str) {}
}
