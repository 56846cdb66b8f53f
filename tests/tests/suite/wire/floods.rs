//! Peers that send endlessly and never read. The bytes that the server queues for these peers stay
//! within the limits.

use sockets::{Client, Limits, Server};
use tokio::io::{DuplexStream, duplex};

use sockets_tests::raw::{ECHO, Raw, SETTINGS, UNKNOWN, cancel, prefixed, reply, request, server_hello, string};

use super::fixture::{BadServer, Handler};

/// The capacity of the pipe between the peers.
const PIPE: usize = 4096;
/// The limit of the bytes that the server queues for a peer.
const QUEUE: u32 = 16 * 1024;
/// Twice the number of bytes that may be queued, being written, and in the pipe.
const BOUND: usize = 4 * (QUEUE as usize + PIPE);

fn limits() -> Limits {
    Limits::new().outgoing_queue(QUEUE)
}

fn server() -> Server {
    Server::builder().serve(BadServer::new(Handler)).limits(limits()).build()
}

/// Connects a raw client over a small pipe, because the system's buffers would hold megabytes.
async fn raw_client(server: &Server, settings: [u64; 3]) -> Raw<DuplexStream> {
    let (near, far) = duplex(PIPE);
    drop(server.accept(far));
    let mut raw = Raw { stream: near };
    raw.log_in(settings).await;
    raw
}

/// Sends the frames in order without reading, and then reads. Returns the number of bytes that the
/// server had queued.
async fn flood(raw: &mut Raw<DuplexStream>, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend(prefixed(&frame));
        if bytes.len() > PIPE {
            raw.send_bytes(&bytes).await;
            bytes.clear();
        }
    }
    raw.send_bytes(&bytes).await;
    raw.drain().await
}

/// Fault 12 of RELIABILITY.md.
#[tokio::test]
async fn unread_cancelled_requests_are_bounded() {
    let server = server();
    let mut raw = raw_client(&server, SETTINGS).await;
    let frames = (0..40_000).flat_map(|number| [request(number * 2, UNKNOWN, &[]), cancel(number * 2)]);
    let queued = flood(&mut raw, frames).await;
    assert!(queued < BOUND, "{queued} bytes were queued for a peer that does not read");
}

#[tokio::test]
async fn unread_replies_after_pending_emits_are_bounded() {
    let server = server();
    // This peer returns no credit, so that further messages wait once its window is used up.
    let mut raw = raw_client(&server, [4 << 20, 16, 1 << 20]).await;
    for _ in 0..20 {
        server.all().emit("news", &"of nothing").await.unwrap();
    }
    let text = string(&"x".repeat(1000));
    let queued = flood(&mut raw, (0..1000).map(|number| request(number * 2, ECHO, &text))).await;
    assert!(queued < BOUND, "{queued} bytes were queued for a peer that does not read");
}

#[tokio::test]
async fn frames_without_a_reply_queue_nothing() {
    let server = server();
    let mut raw = raw_client(&server, SETTINGS).await;
    let frames = (0..50_000).flat_map(|number| [reply(number, b"forged"), cancel(number), vec![0x80], vec![0x81]]);
    let queued = flood(&mut raw, frames).await;
    assert_eq!(queued, 0);
}

#[tokio::test]
async fn repeated_go_away_is_bounded_on_a_client() {
    let (near, far) = duplex(PIPE);
    let mut raw = Raw { stream: near };
    let connect = Client::builder().limits(limits()).connect_over(far);
    let greet = async {
        raw.receive().await.expect("a client hello");
        raw.send(&server_hello(SETTINGS)).await;
        raw.send(&[7]).await;
    };
    let (client, ()) = tokio::join!(connect, greet);
    let _client = client.unwrap();
    let queued = flood(&mut raw, std::iter::repeat_n(vec![8], 50_000)).await;
    assert!(queued < BOUND, "{queued} bytes were queued for a peer that does not read");
}
