//! Peers that announce wrong signatures, or none.

use std::time::Duration;

use sockets::{CallError, Peer, Server};
use tokio::time::timeout;

use sockets_tests::{
    PATIENCE,
    raw::{ECHO, NOTE, Raw, UNKNOWN, reply, request, signatures, string},
};

use super::fixture::{BadClient, server_and_healthy};

/// A signature that no method has.
const OTHER: [u8; 8] = [7; 8];
const NONE: [u8; 8] = [0; 8];

/// Connects a raw client. Returns the client, and the handle through which the server calls the
/// client.
async fn raw_client(server: &Server<String>) -> (Raw, Peer) {
    let raw = Raw::established(server.local_addr()).await;
    (raw, Peer::clone(server.socket(&"ada".to_owned()).unwrap().as_peer()))
}

/// Makes a request. When the request ends, the server has also handled the earlier announcement.
async fn round_trip(raw: &mut Raw) {
    raw.send(&request(100, UNKNOWN, b"")).await;
    raw.expect_failure(100, 1).await;
}

/// Asserts that a request of the server reaches the raw client, which answers it.
async fn is_called(raw: &mut Raw, peer: &Peer) {
    let answer = async {
        let call = raw.receive().await.unwrap();
        assert_eq!(call[0], 2, "a request: {call:?}");
        raw.send(&reply(call[1].into(), &string("well"))).await;
    };
    let (bad, call) = (BadClient::new(peer), timeout(PATIENCE, answer));
    let (echo, answered) = tokio::join!(bad.echo("x"), call);
    answered.expect("the request arrives");
    assert_eq!(echo, Ok("well".to_owned()));
}

async fn is_not_called(peer: &Peer) {
    let echo = timeout(PATIENCE, BadClient::new(peer).echo("x")).await.expect("an outcome at once");
    assert!(matches!(echo, Err(CallError::SignatureMismatch(_))), "{echo:?}");
}

#[tokio::test]
async fn peer_without_announcement_is_not_checked() {
    let (server, healthy) = server_and_healthy().await;
    let (mut raw, peer) = raw_client(&server).await;
    is_called(&mut raw, &peer).await;
    raw.send(&signatures(&[])).await;
    round_trip(&mut raw).await;
    is_called(&mut raw, &peer).await;
    healthy.check().await;
}

#[tokio::test]
async fn mismatched_signature_blocks_calls_until_withdrawn() {
    let (server, healthy) = server_and_healthy().await;
    let (mut raw, peer) = raw_client(&server).await;
    for _ in 0..3 {
        raw.send(&signatures(&[(ECHO, OTHER), (NOTE, OTHER)])).await;
        round_trip(&mut raw).await;
        is_not_called(&peer).await;
        let note = BadClient::new(&peer).note(1).await;
        assert!(matches!(note, Err(CallError::SignatureMismatch(_))), "{note:?}");
        raw.send(&signatures(&[(ECHO, NONE)])).await;
        round_trip(&mut raw).await;
        is_called(&mut raw, &peer).await;
    }
    healthy.check().await;
}

#[tokio::test]
async fn truncated_announcement_is_a_protocol_error() {
    let (server, healthy) = server_and_healthy().await;
    for length in [1, 8, 15, 17, 31] {
        let (mut raw, _) = raw_client(&server).await;
        raw.send(&[&[0x80], &vec![1; length][..]].concat()).await;
        let text = raw.expect_protocol_error().await;
        assert!(text.contains("truncated"), "{length}: {text}");
    }
    healthy.check().await;
}

#[tokio::test]
async fn unknown_optional_frames_are_ignored() {
    let (server, healthy) = server_and_healthy().await;
    let (mut raw, peer) = raw_client(&server).await;
    for kind in 0x84..=0xff {
        raw.send(&[&[kind], &ECHO[..], &OTHER[..7]].concat()).await;
    }
    round_trip(&mut raw).await;
    is_called(&mut raw, &peer).await;
    healthy.check().await;
}

/// Fault 22 of RELIABILITY.md.
#[tokio::test]
async fn announced_names_beyond_the_limit_are_not_checked() {
    let (server, healthy) = server_and_healthy().await;
    let (mut raw, peer) = raw_client(&server).await;
    // The client announces four times as many names as `Limits::names_per_peer` allows. The server
    // calls none of these names.
    let flood = |round: u64| -> Vec<_> {
        (0..16_384).map(|i: u64| ((i | round << 20 | 1 << 40).to_le_bytes(), OTHER)).collect()
    };
    for round in 0..8 {
        raw.send(&signatures(&flood(round))).await;
    }
    raw.send(&signatures(&[(ECHO, OTHER)])).await;
    round_trip(&mut raw).await;
    is_called(&mut raw, &peer).await;
    // The client can still withdraw names that it announced before.
    let known: Vec<_> = flood(0).into_iter().take(10).map(|(key, _)| (key, NONE)).collect();
    raw.send(&signatures(&known)).await;
    round_trip(&mut raw).await;
    is_called(&mut raw, &peer).await;
    healthy.check().await;
    assert!(timeout(Duration::ZERO, peer.disconnected()).await.is_err(), "its connection lives");
}

#[tokio::test]
async fn server_announces_its_methods_in_its_first_frame() {
    let (server, _healthy) = server_and_healthy().await;
    let mut raw = Raw::connect(server.local_addr()).await;
    raw.send(&sockets_tests::raw::client_hello(sockets_tests::raw::SETTINGS, &string("ada"))).await;
    raw.receive().await.expect("a server hello");
    let announced = raw.receive_any().await.unwrap();
    assert_eq!((announced[0], announced.len()), (0x80, 1 + 5 * 16));
    assert_eq!(raw.receive_any().await.as_deref(), Some(&[7][..]), "Ready");
}
