//! Frames that are protocol errors. Each such frame ends its connection.

use sockets::Limits;
use tokio::sync::oneshot;

use sockets_tests::raw::{
    ECHO, NOTE, Raw, SETTINGS, UNKNOWN, WAIT, cancel, client_hello, credit, emit, prefixed, reply, request, string,
};

use super::fixture::{BadServer, Handler, Healthy, server_and_healthy, server_with};

/// A case of a test. It has the name of the fault, the bytes, and a part of the Close frame's text.
type Case = (&'static str, Vec<u8>, &'static str);

async fn expect_violations(cases: Vec<Case>) {
    let (server, healthy) = server_and_healthy().await;
    for (what, bytes, words) in cases {
        let mut raw = Raw::established(server.local_addr()).await;
        raw.send_bytes(&bytes).await;
        let text = raw.expect_protocol_error().await;
        assert!(text.contains(words), "{what}: {text}");
        healthy.check().await;
    }
}

/// Fault 1 of RELIABILITY.md.
#[tokio::test]
async fn frame_of_a_wrong_length_is_refused() {
    expect_violations(vec![
        ("4 GiB announced", vec![0xff; 4], "limit"),
        ("a byte more than is accepted", ((4 << 20) + 1u32).to_le_bytes().to_vec(), "limit"),
        ("an empty frame", prefixed(&[]), "empty"),
        ("a frame over the limit after a valid one", [prefixed(&emit(NOTE, &[1])), vec![0xff; 4]].concat(), "limit"),
    ])
    .await;
}

#[tokio::test]
async fn oversized_frame_that_arrives_whole_is_answered() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    raw.send_bytes(&(8u32 << 20).to_le_bytes()).await;
    for _ in 0..8 {
        raw.send_bytes(&vec![0; 1 << 20]).await;
    }
    let text = raw.expect_protocol_error().await;
    assert!(text.contains("limit"), "{text}");
    healthy.check().await;
}

#[tokio::test]
async fn unknown_frame_type_is_refused() {
    expect_violations(vec![
        ("kind 0", prefixed(&[0]), "unknown frame type 0x00"),
        ("the first kind that is none", prefixed(&[0x0b]), "unknown frame type 0x0b"),
        ("the last kind that may not be ignored", prefixed(&[0x7f, 1, 2]), "unknown frame type 0x7f"),
        ("a second greeting", prefixed(&client_hello(SETTINGS, &string("ada"))), "unknown frame type 0x53"),
    ])
    .await;
}

#[tokio::test]
async fn malformed_frame_is_refused() {
    let long_id = [&[0xff; 9][..], &[2]].concat();
    let request_of = |id: &[u8], rest: &[u8]| prefixed(&[&[2], id, rest].concat());
    expect_violations(vec![
        ("an emit without a whole key", prefixed(&[1, 0, 0, 0, 0, 0, 0, 0]), "key"),
        ("a request without an id", request_of(&[], &[]), "id"),
        ("a request with an id of 65 bits", request_of(&long_id, &[1, 0, 0, 0, 0, 0, 0, 0, 0]), "id"),
        ("a request without a timeout", request_of(&[1], &[]), "timeout"),
        ("a request without a whole key", request_of(&[1], &[1, 0, 0, 0, 0, 0, 0, 0]), "key"),
        ("a reply without an id", prefixed(&[3]), "id"),
        ("a failure without a code", prefixed(&[4, 0]), "code"),
        ("a failure with code 0", prefixed(&[4, 0, 0]), "code"),
        ("a failure with a code of no version", prefixed(&[4, 0, 99]), "code"),
        ("a failure whose text is not UTF-8", prefixed(&[4, 0, 1, 0xff]), "UTF-8"),
        ("a cancel with a byte left over", prefixed(&[&cancel(0)[..], &[0]].concat()), "trailing bytes"),
        ("a credit of nothing", prefixed(&credit(0, 0)), "calls"),
        ("a credit without bytes", prefixed(&[6, 1]), "bytes"),
        ("a credit of more than 32 bits of calls", prefixed(&credit(1 << 32, 0)), "calls"),
        ("a credit with a byte left over", prefixed(&[&credit(1, 0)[..], &[0]].concat()), "trailing bytes"),
        ("a heartbeat with a byte left over", prefixed(&[0x81, 0]), "trailing bytes"),
        ("an acknowledgement without a position", prefixed(&[0x82]), "position"),
        ("an acknowledgement with a byte left over", prefixed(&[0x82, 1, 0]), "trailing bytes"),
        ("a word of skipped bytes without a number", prefixed(&[0x83]), "number of bytes"),
        ("a goodbye without a reason", prefixed(&[10]), "reason"),
        ("a goodbye with a reason of no version", prefixed(&[10, 99]), "reason"),
        ("a goodbye whose text is not UTF-8", prefixed(&[10, 1, 0xc3]), "UTF-8"),
    ])
    .await;
}

#[tokio::test]
async fn server_frame_from_a_client_is_refused() {
    expect_violations(vec![
        ("ready", prefixed(&[7]), "not allowed for the sender"),
        ("going away", prefixed(&[8]), "not allowed for the sender"),
    ])
    .await;
}

#[tokio::test]
async fn excess_credit_is_refused() {
    expect_violations(vec![
        ("calls", prefixed(&credit(1, 0)), "credit exceeds"),
        ("a call and bytes", prefixed(&credit(1, 1)), "credit exceeds"),
        ("all there is", prefixed(&credit(u64::from(u32::MAX), u64::MAX)), "credit exceeds"),
    ])
    .await;
}

/// Fault 9 of RELIABILITY.md.
#[tokio::test]
async fn request_with_an_id_in_flight_is_refused() {
    let twice = [prefixed(&request(6, WAIT, &[])), prefixed(&request(6, ECHO, &string("x")))].concat();
    expect_violations(vec![("the id of a request that waits", twice, "in flight")]).await;
}

#[tokio::test]
async fn calls_beyond_the_window_are_refused() {
    let server = server_with(Limits::new().calls_in_flight(4)).await;
    let healthy = Healthy::connect(&server).await;
    let mut raw = Raw::established(server.local_addr()).await;
    for id in 0..5 {
        raw.send(&request(id * 2, WAIT, &[])).await;
    }
    let text = raw.expect_protocol_error().await;
    assert!(text.contains("window"), "{text}");
    healthy.check().await;
}

#[tokio::test]
async fn bytes_beyond_the_window_are_refused() {
    let server = server_with(Limits::new().bytes_in_flight(1000)).await;
    let healthy = Healthy::connect(&server).await;
    let mut raw = Raw::established(server.local_addr()).await;
    let large = string(&"x".repeat(5000));
    raw.send(&request(0, ECHO, &large)).await;
    assert_eq!(raw.receive().await, Some(reply(0, &large)));
    // The waiting request must be small: because the method `wait` takes no arguments, the server
    // would answer a large request with a failure.
    raw.send(&request(2, WAIT, &[])).await;
    raw.send(&request(4, ECHO, &large)).await;
    assert_eq!(raw.receive().await, Some(reply(4, &large)));
    // These requests stay in flight, because the method `wait` never replies. When more than half
    // of the window is in use, a further request must fit into the rest. The last of these requests
    // do not fit, which is a protocol error.
    for id in 3..100 {
        raw.send(&request(id * 2, WAIT, &[])).await;
    }
    let text = raw.expect_protocol_error().await;
    assert!(text.contains("window"), "{text}");
    healthy.check().await;
}

#[tokio::test]
async fn truncated_frame_ends_its_connection() {
    let (gone, received) = oneshot::channel();
    let gone = std::sync::Mutex::new(Some(gone));
    let server = sockets::Server::builder()
        .authenticate(|login: String| async move { Ok::<_, sockets::Refusal>(login) })
        .connected(move |socket: sockets::Socket<String>| {
            if *socket.identity() == "ada" {
                let gone = gone.lock().unwrap().take().unwrap();
                socket.on_disconnect(|reason| async move { gone.send(reason).unwrap() });
            }
            async {}
        })
        .serve(BadServer::new(Handler))
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let healthy = Healthy::connect(&server).await;
    let mut raw = Raw::established(server.local_addr()).await;
    let whole = prefixed(&request(0, UNKNOWN, b"arguments"));
    raw.send_bytes(&whole[..whole.len() - 1]).await;
    drop(raw);
    let reason = tokio::time::timeout(sockets_tests::PATIENCE, received).await.expect("the hook runs").unwrap();
    assert!(matches!(reason, sockets::DisconnectReason::Lost(_)), "{reason:?}");
    healthy.check().await;
}
