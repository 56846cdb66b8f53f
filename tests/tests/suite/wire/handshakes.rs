//! Client hellos that a server does not understand.

use std::time::{Duration, Instant};

use sockets::{Client, ConnectError, Limits};
use tokio::time::{sleep, timeout};

use sockets_tests::{
    PATIENCE,
    raw::{NO_EXTENSIONS, Raw, SETTINGS, client_hello, encode_settings, envelope, prefixed, string, varint},
};

use super::fixture::{Healthy, server_and_healthy, server_with};

#[tokio::test]
async fn bad_hello_is_answered_with_the_cause() {
    let (server, healthy) = server_and_healthy().await;
    let login_body =
        |login: &[u8]| [&encode_settings(SETTINGS)[..], &varint(login.len() as u64), login, &NO_EXTENSIONS].concat();
    let good = client_hello(SETTINGS, &string("ada"));
    let left_over = [&login_body(&string("ada"))[..], &[0]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("wrong magic", prefixed(&envelope(*b"HTTP", 1, &login_body(&string("ada")))), "magic"),
        ("no magic", prefixed(&[b'5'; 4 + 53]), "magic bytes SKTS"),
        ("less than the magic", prefixed(b"SKT"), "magic bytes SKTS"),
        ("an older version", prefixed(&envelope(*b"SKTS", 0, &[])), "version 0"),
        ("a later version, with a body of its own", prefixed(&envelope(*b"SKTS", 2, &[0xff; 40])), "version 2"),
        ("a version beyond 16 bits", prefixed(&envelope(*b"SKTS", 70_000, &[])), "integer"),
        ("a login that does not decode", prefixed(&client_hello(SETTINGS, &[5, b'a'])), "cannot decode the login"),
        ("a login with a byte left over", prefixed(&client_hello(SETTINGS, b"\x03ada!")), "trailing"),
        ("a login that is not UTF-8", prefixed(&client_hello(SETTINGS, b"\x01\xff")), "UTF-8"),
        ("terms that are cut short", prefixed(&envelope(*b"SKTS", 1, &[1, 1])), "client hello does not decode"),
        ("terms beyond 32 bits", prefixed(&client_hello([u64::MAX, 1, 1], &string("ada"))), "integer"),
        ("a login longer than its frame", prefixed(&envelope(*b"SKTS", 1, &[1, 1, 1, 5, 0])), "length"),
        ("a body with a byte left over", prefixed(&envelope(*b"SKTS", 1, &left_over)), "trailing"),
        ("an envelope with a byte left over", prefixed(&[&good[..], &[0]].concat()), "trailing"),
        ("an envelope that is cut short", prefixed(&good[..good.len() - 1]), "length"),
        ("an empty frame", prefixed(&[]), "ends before"),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(), "same scheme"),
        ("4 GiB announced", vec![0xff; 4], "limit"),
        ("a byte more than a greeting may have", (64 * 1024 + 1u32).to_le_bytes().to_vec(), "limit"),
    ];
    for (what, bytes, words) in cases {
        let mut raw = Raw::connect(server.local_addr()).await;
        raw.send_bytes(&bytes).await;
        let text = raw.expect_rejected_hello().await;
        assert!(text.contains(words), "{what}: {text}");
        healthy.check().await;
    }
    assert_eq!(server.sockets().len(), 1, "only the healthy one");
}

/// Fault 15 of RELIABILITY.md.
#[tokio::test]
async fn oversized_login_is_answered_with_the_limit() {
    let (server, healthy) = server_and_healthy().await;
    let url = format!("tcp://{}", server.local_addr());
    // The login does not fit into the system's buffers. If the server closed the connection before
    // it has read the whole login, the system would reset the connection. The client would then not
    // receive the answer.
    for megabytes in [1, 16] {
        let connect = Client::builder().auth("x".repeat(megabytes << 20)).connect(&url);
        let refused = timeout(PATIENCE, connect).await.expect("an answer").unwrap_err();
        let text = matches!(&refused, ConnectError::Handshake(words) if words.contains("limit"));
        assert!(text, "{megabytes} MiB: {refused:?}");
    }
    healthy.check().await;
}

#[tokio::test]
async fn refused_login_receives_the_message() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(&client_hello(SETTINGS, &string("mallory"))).await;
    let answer = raw.receive().await.unwrap();
    assert_eq!(answer[6..], [&[1], &string("not you")[..]].concat());
    assert_eq!(raw.receive().await, None);
    healthy.check().await;
}

#[tokio::test]
async fn silent_peer_is_disconnected() {
    let server = server_with(Limits::new().authentication(Duration::from_millis(100))).await;
    let healthy = Healthy::connect(&server).await;
    let mut raw = Raw::connect(server.local_addr()).await;
    let text = raw.expect_rejected_hello().await;
    assert!(text.contains("too long"), "{text}");
    healthy.check().await;
}

/// Fault 15 of RELIABILITY.md.
#[tokio::test]
async fn trickling_hello_is_disconnected() {
    let server = server_with(Limits::new().authentication(Duration::from_millis(300))).await;
    let healthy = Healthy::connect(&server).await;
    let mut raw = Raw::connect(server.local_addr()).await;
    let started = Instant::now();
    // Each byte arrives in time, but the whole client hello does not.
    for byte in prefixed(&client_hello(SETTINGS, &string(&"a".repeat(100)))) {
        raw.send_bytes(&[byte]).await;
        sleep(Duration::from_millis(20)).await;
        if started.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    let text = raw.expect_rejected_hello().await;
    assert!(text.contains("too long"), "{text}");
    healthy.check().await;
}

#[tokio::test]
async fn truncated_hello_leaves_no_socket() {
    let (server, healthy) = server_and_healthy().await;
    let whole = prefixed(&client_hello(SETTINGS, &string("ada")));
    for length in 0..whole.len() {
        let mut raw = Raw::connect(server.local_addr()).await;
        raw.send_bytes(&whole[..length]).await;
    }
    healthy.check().await;
    assert_eq!(server.sockets().len(), 1, "only the healthy one");
}
