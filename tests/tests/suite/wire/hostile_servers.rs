//! Servers that break the protocol. The tests check the errors that a client returns.

use std::{future::Future, time::Duration};

use sockets::{CallError, Client, ConnectError, DisconnectReason, Limits};
use tokio::{net::TcpListener, time::timeout};

use sockets_tests::{
    PATIENCE,
    raw::{
        ECHO, NO_EXTENSIONS, NOTE, Raw, SETTINGS, UNKNOWN, WAIT, credit, emit, encode_settings, envelope, prefixed,
        reply, request, server_hello, string,
    },
};

use super::fixture::{BadClient, BadServer, Handler};

/// Connects a client to a raw server. The raw server reads the client hello, and then runs
/// `answer`.
async fn connect_local<F: Future>(
    limits: Limits,
    answer: impl FnOnce(Raw) -> F,
) -> (Result<Client, ConnectError>, F::Output) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let server = async {
        let mut raw = Raw { stream: listener.accept().await.unwrap().0 };
        raw.receive().await.expect("a client hello");
        answer(raw).await
    };
    let connect = Client::builder().auth("ada").serve(BadServer::new(Handler)).limits(limits).connect(&url);
    timeout(PATIENCE, async { tokio::join!(connect, server) }).await.expect("the client does not wait for ever")
}

async fn answered_with(bytes: Vec<u8>) -> ConnectError {
    let answer = |mut raw: Raw| async move {
        raw.send_bytes(&bytes).await;
        raw
    };
    connect_local(Limits::default(), answer).await.0.expect_err("no server to talk to")
}

/// Connects a client of the library to a raw server, and returns both.
async fn connected(limits: Limits) -> (Client, Raw) {
    let (client, raw) = connect_local(limits, |mut raw| async move {
        raw.send(&server_hello(SETTINGS)).await;
        raw.send(&[7]).await;
        raw
    })
    .await;
    (client.unwrap(), raw)
}

#[tokio::test]
async fn bad_server_hello_fails_the_handshake() {
    let with_left_over = [&[0], &encode_settings(SETTINGS)[..], &NO_EXTENSIONS, &[0]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("wrong magic", prefixed(&envelope(*b"HTTP", 1, &[0, 1, 1, 1]))),
        ("4 GiB announced", vec![0xff; 4]),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("an empty frame", prefixed(&[])),
        ("an answer of no version", prefixed(&envelope(*b"SKTS", 1, &[3]))),
        ("a welcome that is cut short", prefixed(&envelope(*b"SKTS", 1, &[0, 1]))),
        ("a welcome with a byte left over", prefixed(&envelope(*b"SKTS", 1, &with_left_over))),
        ("a refusal that is not UTF-8", prefixed(&envelope(*b"SKTS", 1, &[1, 1, 0xff]))),
    ];
    for (what, bytes) in cases {
        let error = answered_with(bytes).await;
        assert!(matches!(error, ConnectError::Handshake(_)), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn version_error_has_both_versions() {
    let error = answered_with(prefixed(&envelope(*b"SKTS", 7, &[0xff; 9]))).await;
    assert!(matches!(error, ConnectError::Version { ours: 1, theirs: 7, .. }), "{error:?}");
}

#[tokio::test]
async fn misunderstood_hello_reaches_the_user() {
    let error = answered_with(prefixed(&envelope(*b"SKTS", 1, &[&[2], &string("speak up")[..]].concat()))).await;
    assert!(matches!(&error, ConnectError::Handshake(words) if words.contains("speak up")), "{error:?}");
}

#[tokio::test]
async fn close_without_an_answer_fails_the_handshake() {
    let (client, ()) = connect_local(Limits::default(), |raw| async move { drop(raw) }).await;
    let error = client.expect_err("no server to talk to");
    assert!(matches!(error, ConnectError::Handshake(_)), "{error:?}");
}

#[tokio::test]
async fn silent_server_times_out() {
    let limits = Limits::new().authentication(Duration::from_millis(100));
    let (client, _raw) = connect_local(limits, |raw| async move { raw }).await;
    let error = client.expect_err("no server to talk to");
    assert!(matches!(&error, ConnectError::Handshake(words) if words.contains("in time")), "{error:?}");
}

#[tokio::test]
async fn client_announces_its_methods_after_the_server_hello() {
    let (client, announced) = connect_local(Limits::default(), |mut raw| async move {
        raw.send(&server_hello(SETTINGS)).await;
        let announced = raw.receive_any().await.expect("an announcement");
        raw.send(&[7]).await;
        announced
    })
    .await;
    client.unwrap();
    assert_eq!((announced[0], announced.len()), (0x80, 1 + 5 * 16), "five methods");
}

#[tokio::test]
async fn close_before_ready_fails_with_its_reason() {
    let (client, _raw) = connect_local(Limits::default(), |mut raw| async move {
        raw.send(&server_hello(SETTINGS)).await;
        raw.send(b"\x0a\x02full").await;
        raw
    })
    .await;
    let error = client.expect_err("not connected");
    assert!(
        matches!(&error, ConnectError::Disconnected(DisconnectReason::Kicked(words)) if words == "full"),
        "{error:?}"
    );
}

#[tokio::test]
async fn protocol_error_of_a_server_ends_the_client() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("an empty frame", prefixed(&[]), "empty"),
        ("4 GiB announced", vec![0xff; 4], "limit"),
        ("an unknown kind", prefixed(&[0x0b]), "unknown frame type"),
        ("a frame of clients", prefixed(&[9]), "not allowed for the sender"),
        ("a second welcome", prefixed(&server_hello(SETTINGS)), "unknown frame type"),
        ("more credit than was taken", prefixed(&credit(1, 1)), "credit exceeds"),
        ("an id in flight", prefixed(&request(1, WAIT, &[])).repeat(2), "in flight"),
    ];
    for (what, bytes, words) in cases {
        let (client, mut raw) = connected(Limits::default()).await;
        raw.send_bytes(&bytes).await;
        let text = raw.expect_protocol_error().await;
        assert!(text.contains(words), "{what}: {text}");
        let reason = timeout(PATIENCE, client.disconnected()).await.expect("the client knows");
        assert!(matches!(&reason, DisconnectReason::ProtocolViolation(text) if text.contains(words)), "{reason:?}");
    }
}

#[tokio::test]
async fn server_beyond_the_clients_window_is_disconnected() {
    let (_client, mut raw) = connected(Limits::new().calls_in_flight(2)).await;
    for id in 0..3 {
        raw.send(&request(id * 2 + 1, WAIT, &[])).await;
    }
    let text = raw.expect_protocol_error().await;
    assert!(text.contains("window"), "{text}");
}

#[tokio::test]
async fn harmless_server_errors_keep_the_connection() {
    let (client, mut raw) = connected(Limits::default()).await;
    raw.send(&reply(0, b"to an unknown call")).await;
    raw.send(&emit(UNKNOWN, b"without a listener")).await;
    raw.send(&emit(NOTE, b"")).await;
    raw.send(&request(1, UNKNOWN, b"")).await;
    raw.expect_failure(1, 1).await;
    raw.send(&request(1, ECHO, b"\x09x")).await;
    raw.expect_failure(1, 3).await;
    raw.send(&request(1, ECHO, &string("well"))).await;
    assert_eq!(raw.receive().await, Some(reply(1, &string("well"))));
    assert!(client.is_connected());
}

#[tokio::test]
async fn undecodable_reply_fails_only_its_request() {
    let (client, mut raw) = connected(Limits::default()).await;
    let bad = BadClient::new(&client);
    let answers = async {
        for payload in [&b"\x05x"[..], b"\x01xx", b"\x01\xff", b"\x01x"] {
            let request = raw.receive().await.unwrap();
            raw.send(&[&[3, request[1]], payload].concat()).await;
        }
    };
    let calls = async {
        for _ in 0..3 {
            let error = bad.echo("x").await.unwrap_err();
            assert!(matches!(error, CallError::Decode(_)), "{error:?}");
        }
        assert_eq!(bad.echo("x").await, Ok("x".to_owned()));
    };
    timeout(PATIENCE, async { tokio::join!(answers, calls) }).await.expect("every call ends");
}

#[tokio::test]
async fn request_ends_when_its_credit_is_returned_twice() {
    let (client, mut raw) = connected(Limits::default()).await;
    let answers = async {
        let request = raw.receive().await.unwrap();
        raw.send(&credit(1, request.len() as u64)).await;
        raw.send(&reply(u64::from(request[1]), &string("x"))).await;
        raw.expect_protocol_error().await;
    };
    let bad = BadClient::new(&client);
    let call = timeout(PATIENCE, bad.echo("x"));
    let (call, ()) = tokio::join!(call, answers);
    // The client delivers the reply, or discards the reply as part of the violation.
    match call.expect("the call has an outcome") {
        Ok(reply) => assert_eq!(reply, "x"),
        Err(error) => assert!(matches!(error, CallError::Disconnected { maybe_executed: true, .. }), "{error:?}"),
    }
}

#[tokio::test]
async fn pending_requests_precede_drained_after_go_away() {
    let (client, mut raw) = connect_local(Limits::default(), |mut raw| async move {
        // The settings of the server allow a single call in flight.
        raw.send(&server_hello([4 << 20, 1, 1 << 20])).await;
        raw.send(&[7]).await;
        raw
    })
    .await;
    let client = client.unwrap();
    let bad = BadClient::new(&client);
    let server = async {
        let first = raw.receive().await.unwrap();
        raw.send(&[8]).await;
        raw.send(&[&[3, first[1]], &string("x")[..]].concat()).await;
        let second = raw.receive().await.unwrap();
        assert_eq!(second[0], 2, "the pending request comes first: {second:?}");
        let id_ends = 1 + second[1..].iter().position(|byte| *byte < 0x80).unwrap();
        raw.send(&[&[3], &second[1..=id_ends], &string("y")].concat()).await;
        assert_eq!(raw.receive().await.as_deref(), Some(&[9][..]), "Drained");
    };
    let calls = async {
        let (first, second) = tokio::join!(bad.echo("x"), bad.echo("y"));
        assert_eq!((first, second), (Ok("x".to_owned()), Ok("y".to_owned())));
    };
    timeout(PATIENCE, async { tokio::join!(server, calls) }).await.expect("both calls end");
}

#[tokio::test]
async fn close_message_above_max_frame_is_truncated() {
    let server = sockets::Server::builder()
        .connected(|socket: sockets::Socket| async move { socket.disconnect(&"go away ".repeat(20_000)) })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let limits = Limits::new().max_frame(4096);
    let refused = timeout(PATIENCE, Client::builder().limits(limits).connect(&url)).await.expect("an end");
    let reason = match refused {
        Ok(client) => client.disconnected().await,
        Err(ConnectError::Disconnected(reason)) => reason,
        Err(other) => panic!("{other:?}"),
    };
    assert!(reason.message().is_some_and(|words| words.starts_with("go away")), "{reason:?}");
}
