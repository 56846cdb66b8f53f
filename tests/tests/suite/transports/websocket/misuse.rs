//! Peers that violate RFC 6455. The server closes their connections with the code that the RFC
//! requires.

use std::time::Duration;

use sockets::{Client, DisconnectReason, Limits, Server};
use sockets_tests::{PATIENCE, eventually};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use sockets_tests::raw_websocket::{
    BINARY, CLIENT_HELLO, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, header,
};

async fn server() -> Server {
    Server::builder().bind("ws://127.0.0.1:0").await.unwrap()
}

/// Sends `bytes` after the handshake, and returns the text of the server's error. Asserts that a
/// second client stays connected.
async fn violation(bytes: &[u8], code: u16) -> String {
    let server = server().await;
    let address = server.local_addr();
    let bystander = Client::builder().connect(&format!("ws://{address}")).await.unwrap();
    let mut raw = Raw::established(address).await;
    raw.send(bytes).await;
    let text = raw.expect_protocol_error(code).await;
    eventually("only the second client is left", || server.sockets().len() == 1).await;
    assert!(bystander.is_connected());
    text
}

#[tokio::test]
async fn text_message_is_refused() {
    let text = violation(&frame(FIN | TEXT, b"hello"), 1003).await;
    assert!(text.contains("text"), "{text}");
}

#[tokio::test]
async fn unmasked_frame_is_refused() {
    let unmasked = [header(FIN | BINARY, 1, 0), b"x".to_vec()].concat();
    let text = violation(&unmasked, 1002).await;
    assert!(text.contains("masked"), "{text}");
}

#[tokio::test]
async fn reserved_bit_or_opcode_is_refused() {
    for first in
        [FIN | 0x40 | BINARY, FIN | 0x20 | BINARY, FIN | 0x10 | BINARY, FIN | 0x3, FIN | 0x7, FIN | 0xb, FIN | 0xf]
    {
        let text = violation(&frame(first, b"x"), 1002).await;
        assert!(text.contains("reserved"), "{first:#04x}: {text}");
    }
}

#[tokio::test]
async fn misordered_fragments_are_refused() {
    let text = violation(&frame(FIN | CONTINUATION, b"x"), 1002).await;
    assert!(text.contains("without a message"), "{text}");
    let text = violation(&[frame(BINARY, b"x"), frame(FIN | BINARY, b"y")].concat(), 1002).await;
    assert!(text.contains("within another"), "{text}");
}

#[tokio::test]
async fn long_or_fragmented_control_frame_is_refused() {
    for bytes in [frame(FIN | PING, &[0; 126]), frame(PING, b"x"), frame(CLOSE, b""), frame(PONG, b"")] {
        let text = violation(&bytes, 1002).await;
        assert!(text.contains("control frame"), "{text}");
    }
}

#[tokio::test]
async fn overlong_payload_length_is_refused() {
    for header in [&[FIN | BINARY, 0xfe, 0, 125][..], &[FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
        let text = violation(&[header, &[0; 4]].concat(), 1002).await;
        assert!(text.contains("fewest bytes"), "{text}");
    }
}

#[tokio::test]
async fn consecutive_empty_fragments_are_limited() {
    let text = violation(&[frame(BINARY, b"x"), frame(CONTINUATION, b"").repeat(65)].concat(), 1008).await;
    assert!(text.contains("empty fragments"), "{text}");

    let server = server().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let heartbeat = [frame(BINARY, b""), frame(CONTINUATION, b"").repeat(63), frame(FIN | CONTINUATION, &[9])].concat();
    raw.send(&[heartbeat.repeat(3), frame(FIN | PING, b"still here")].concat()).await;
    assert_eq!(raw.frame().await, Some((FIN | PONG, b"still here".to_vec())));
}

#[tokio::test]
async fn peer_sending_after_its_violation_is_disconnected() {
    let server = server().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let fragments = frame(CONTINUATION, b"").repeat(1000);
    raw.send(&[frame(BINARY, b"x"), fragments.clone()].concat()).await;
    raw.expect_protocol_error(1008).await;
    for _ in 0..100 {
        raw.send(&fragments).await;
    }
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn oversized_message_is_refused_from_its_header() {
    for length in [5 << 20, u64::MAX] {
        let text = violation(&[header(FIN | BINARY, length, 0x80), vec![0; 4]].concat(), 1009).await;
        assert!(text.contains("exceeds the limit"), "{text}");
    }
}

#[tokio::test]
async fn fragments_share_the_limit_of_one_message() {
    let server = Server::builder().limits(Limits::new().max_frame(1000));
    let server = server.bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::established(server.local_addr()).await;
    raw.send(&frame(BINARY, &[1; 400])).await;
    raw.send(&frame(CONTINUATION, &[1; 400])).await;
    raw.send(&frame(CONTINUATION, &[1; 400])).await;
    let text = raw.expect_protocol_error(1009).await;
    assert!(text.contains("1200 bytes exceeds the limit of 1000"), "{text}");
}

#[tokio::test]
async fn empty_message_is_a_protocol_error() {
    let text = violation(&frame(FIN | BINARY, b""), 1000).await;
    assert!(text.contains("empty"), "{text}");
}

#[tokio::test]
async fn invalid_close_is_refused() {
    for (payload, code) in
        [(&[3][..], 1002), (&1005_u16.to_be_bytes(), 1002), (&999_u16.to_be_bytes(), 1002), (b"\x03\xe8\xff", 1007)]
    {
        violation(&frame(FIN | CLOSE, payload), code).await;
    }
}

#[tokio::test]
async fn misuse_before_the_hello_is_answered_by_the_handshake() {
    let server = server().await;
    let larger_than_a_greeting = [header(FIN | BINARY, 1 << 20, 0x80), vec![0; 4]].concat();
    for (bytes, code) in [(frame(FIN | TEXT, b"hello"), 1003), (larger_than_a_greeting, 1009)] {
        let mut raw = Raw::upgraded(server.local_addr()).await;
        raw.send(&bytes).await;
        let answer = raw.message().await;
        assert_eq!((&answer[..4], answer[6]), (&b"SKTS"[..], 2), "not misunderstood: {answer:?}");
        raw.expect_close(code).await;
    }
}

#[tokio::test]
async fn ping_flood_harms_no_other_client() {
    let server = Server::builder().bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::established(server.local_addr()).await;
    // The client reads no pongs, and they do not all fit into the system's buffers. A server that
    // answered every ping would have to keep the other pongs in its own memory.
    let pings = frame(FIN | PING, &[9; 125]).repeat(1000);
    for _ in 0..200 {
        raw.send(&pings).await;
    }
    let bystander = Client::builder().connect(&format!("ws://{}", server.local_addr())).await.unwrap();
    assert!(bystander.is_connected());
    assert_eq!(server.sockets().len(), 2, "pings alone are no reason to end a connection");
}

/// The peer sends pings and reads nothing, so the server cannot deliver its pongs.
#[tokio::test]
async fn server_ends_session_when_peer_reads_no_pongs() {
    let limits = Limits::new().stall(Duration::from_millis(300));
    let server = Server::builder().limits(limits).bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::established(server.local_addr()).await;
    let socket = server.sockets()[0].clone();
    let pings = frame(FIN | PING, &[9; 125]).repeat(1000);
    let flood = async {
        loop {
            raw.send(&pings).await;
        }
    };
    tokio::select! {
        reason = timeout(PATIENCE, socket.disconnected()) => {
            assert_eq!(reason.expect("the write timeout fires"), DisconnectReason::TooSlow);
        }
        () = flood => {}
    }
}

#[tokio::test]
async fn client_closes_connection_when_server_reads_no_pongs() {
    let server = server().await;
    // The small receive buffer is soon full of pongs.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let limits = Limits::new().stall(Duration::from_millis(300));
    let connect = tokio::spawn(async move { Client::builder().limits(limits).connect(&url).await.unwrap() });
    let (mut client_end, _) = listener.accept().await.unwrap();
    let mut server_end = TcpStream::connect(server.local_addr()).await.unwrap();
    let client = tokio::select! {
        client = connect => client.unwrap(),
        _ = copy_bidirectional(&mut client_end, &mut server_end) => panic!("the connection ended"),
    };
    // The test inserts the pings between two messages of the server, so that the client receives
    // them as if the server had sent them.
    let pings = [header(FIN | PING, 125, 0), vec![9; 125]].concat().repeat(1000);
    let flood = async { while client_end.write_all(&pings).await.is_ok() {} };
    timeout(PATIENCE, flood).await.expect("the client closes the connection");
    drop(client);
}

#[tokio::test]
async fn endless_empty_fragments_end_after_the_idle_timeout() {
    let limits = Limits::new().silence(Duration::from_millis(300));
    let server = Server::builder().limits(limits).bind("ws://127.0.0.1:0").await.unwrap();
    let mut raw = Raw::established(server.local_addr()).await;
    raw.send(&frame(BINARY, b"")).await;
    let nothing = frame(CONTINUATION, b"");
    let gave_up = async {
        while !server.sockets().is_empty() {
            raw.send(&nothing).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gave_up).await.expect("it is given up");
}

#[tokio::test]
async fn fragmented_hello_between_pings_is_accepted() {
    let server = server().await;
    let mut raw = Raw::upgraded(server.local_addr()).await;
    let (first, rest) = CLIENT_HELLO.split_at(7);
    let bytes = [
        frame(BINARY, first),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, b""),
        frame(FIN | PONG, b"not asked for"),
        frame(FIN | CONTINUATION, rest),
    ];
    for byte in bytes.concat() {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.frame().await, Some((FIN | PONG, b"between".to_vec())));
    assert_eq!(raw.message().await[6], 0, "welcome");
}
