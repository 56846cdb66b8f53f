//! WebSocket messages, pings and closes. The client is another implementation.

use sockets::{DisconnectReason, Server, Socket};
use sockets_tests::eventually;
use tokio::sync::mpsc;

use sockets_tests::raw_websocket::{BINARY, CLOSE, CLOSE_FRAME, CONTINUATION, FIN, PING, PONG, Raw, frame};

/// The key of the method `echo` of the root. The key is the beginning of a SHA-256 hash over a zero
/// byte and the name.
const ECHO: [u8; 8] = [0x4a, 0x3c, 0xb7, 0x44, 0xe0, 0xa2, 0xfb, 0x15];

async fn echoing() -> Server {
    let server = Server::builder().connected(|socket: Socket| async move {
        socket.listen("echo", |text: String| async move { text });
    });
    server.bind("ws://127.0.0.1:0").await.unwrap()
}

fn echo(id: u8, text: &str) -> Vec<u8> {
    [&[2, id, 0x88, 0x27], &ECHO[..], &[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn echoed(id: u8, text: &str) -> Vec<u8> {
    [&[3, id, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

#[tokio::test]
async fn message_arrives_whole_or_in_fragments() {
    let server = echoing().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let (first, rest) = (&echo(2, "in two")[..9], &echo(2, "in two")[9..]);
    raw.send(&[frame(FIN | BINARY, &echo(0, "whole")), frame(BINARY, first), frame(FIN | CONTINUATION, rest)].concat())
        .await;
    assert_eq!(raw.message().await, echoed(0, "whole"));
    assert_eq!(raw.message().await, echoed(2, "in two"));
}

#[tokio::test]
async fn pings_are_answered_in_order_with_their_payload() {
    let server = echoing().await;
    let mut raw = Raw::established(server.local_addr()).await;
    raw.send(&[frame(FIN | PING, b""), frame(FIN | PING, &[7; 125])].concat()).await;
    assert_eq!(raw.frame().await, Some((FIN | PONG, vec![])));
    assert_eq!(raw.frame().await, Some((FIN | PONG, vec![7; 125])));
    raw.send(&[frame(BINARY, &echo(0, "x")[..5]), frame(FIN | PING, b"between")].concat()).await;
    assert_eq!(raw.frame().await, Some((FIN | PONG, b"between".to_vec())));
    raw.send(&frame(FIN | CONTINUATION, &echo(0, "x")[5..])).await;
    assert_eq!(raw.message().await, echoed(0, "x"));
}

#[tokio::test]
async fn close_is_answered_with_its_code() {
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going away", &3000_u16.to_be_bytes()] {
        let server = echoing().await;
        let mut raw = Raw::established(server.local_addr()).await;
        let socket = server.sockets()[0].clone();
        raw.send(&frame(FIN | CLOSE, payload)).await;
        let code = payload[..payload.len().min(2)].to_vec();
        assert_eq!(raw.frame().await, Some((FIN | CLOSE, code)));
        assert_eq!(raw.frame().await, None);
        assert!(matches!(socket.disconnected().await, DisconnectReason::Lost(_)), "there was no goodbye");
    }
}

#[tokio::test]
async fn protocol_close_is_answered_with_a_websocket_close() {
    // A client may send the WebSocket close immediately after the Close frame, later, or never.
    for close in [frame(FIN | CLOSE, &1000_u16.to_be_bytes()), vec![]] {
        let server = echoing().await;
        let mut raw = Raw::established(server.local_addr()).await;
        let socket = server.sockets()[0].clone();
        raw.send(&[frame(FIN | BINARY, &[CLOSE_FRAME, 1]), close].concat()).await;
        raw.expect_close(1000).await;
        assert_eq!(socket.disconnected().await, DisconnectReason::PeerClosed);
    }
}

#[tokio::test]
async fn server_disconnect_sends_both_closes() {
    let server = echoing().await;
    let mut raw = Raw::established(server.local_addr()).await;
    server.sockets()[0].disconnect("be nice");
    assert_eq!(raw.message().await, [&[CLOSE_FRAME, 2], &b"be nice"[..]].concat());
    raw.expect_close(1000).await;
    eventually("the socket is removed", || server.sockets().is_empty()).await;
}

#[tokio::test]
async fn batched_emits_are_separate_messages() {
    let (received, mut receives) = mpsc::unbounded_channel();
    let server = Server::builder().connected(move |socket: Socket| {
        let received = received.clone();
        async move { received.send(socket).unwrap() }
    });
    let server = server.bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::established(server.local_addr()).await;
    let socket = receives.recv().await.unwrap();
    let sizes = [0, 1, 117, 118, 200, 5000, 65_526, 65_527, 200_000];
    for size in sizes {
        socket.emit("note", &"x".repeat(size)).await.unwrap();
    }
    for size in sizes {
        let message = raw.message().await;
        assert_eq!(message[0], 1, "an emit");
        assert!(message.ends_with(&vec![b'x'; size]) && message.len() <= size + 12, "{} of {size}", message.len());
    }
}
