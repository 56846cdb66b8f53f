//! Malformed compressed frames.

use sockets_tests::raw::{ECHO, REPLY, Raw, SETTINGS, encode_settings, envelope, request, string};

use super::fixture::server_and_healthy;

/// The extension by which a peer supports LZ4.
const COMPRESSES: [u8; 4] = [1, 2, 1, 1];

async fn established(address: std::net::SocketAddr) -> Raw {
    let login = string("ada");
    let length = u8::try_from(login.len()).unwrap();
    let mut raw = Raw::connect(address).await;
    raw.send(&envelope(*b"SKTS", 1, &[&encode_settings(SETTINGS)[..], &[length], &login, &COMPRESSES].concat())).await;
    let answer = raw.receive().await.expect("an answer to the client hello");
    assert_eq!(answer[6], 0, "not a server hello: {answer:?}");
    assert_eq!(raw.receive().await.as_deref(), Some(&[7][..]), "Ready");
    raw
}

fn compressed(length: u32, block: &[u8]) -> Vec<u8> {
    [&[0x0b], &length.to_le_bytes()[..], block].concat()
}

/// Returns a block that contains these bytes as literals. The block must have at least 15 bytes.
fn literals(bytes: &[u8]) -> Vec<u8> {
    let more = u8::try_from(bytes.len() - 15).unwrap();
    assert!(more < 255);
    [&[0xf0, more], bytes].concat()
}

/// Returns a block that decompresses to ones. The result is about 255 times as long as the block.
fn ones(bytes: usize) -> Vec<u8> {
    [&[0x1f, 1, 1, 0], &vec![255; bytes][..]].concat()
}

#[tokio::test]
async fn compression_bomb_is_a_protocol_error() {
    let (server, healthy) = server_and_healthy().await;
    let good = request(0, ECHO, &string("a text"));
    let within = literals(&compressed(5000, &ones(20)));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("4 GiB from 16 MiB that are not sent", compressed(u32::MAX, &ones(64)), "limit"),
        ("a byte more than is accepted", compressed((4 << 20) + 1, &ones(20_000)), "limit"),
        ("much from little", compressed(4 << 20, &ones(64)), "too short for its original length"),
        ("longer than announced", compressed(100_000, &ones(2000)), "does not decompress to its original length"),
        ("shorter than announced", compressed(100, &literals(&good)), "does not decompress to its original length"),
        ("an offset before the beginning", compressed(1000, &[0x0f, 9, 0, 255, 255, 255, 100]), "does not decompress"),
        ("one within another", compressed(u32::try_from(within.len() - 2).unwrap(), &within), "is compressed, too"),
        ("no length", vec![0x0b, 1, 0], "original frame is missing"),
        ("nothing", compressed(0, &[0]), "empty"),
    ];
    for (what, frame, words) in cases {
        let mut raw = established(server.local_addr()).await;
        raw.send(&frame).await;
        let text = raw.expect_protocol_error().await;
        assert!(text.contains(words), "{what}: {text}");
        healthy.check().await;
    }
}

#[tokio::test]
async fn compressed_frame_needs_the_extension() {
    let (server, healthy) = server_and_healthy().await;
    let good = request(0, ECHO, &string("a text"));
    let frame = compressed(u32::try_from(good.len()).unwrap(), &literals(&good));
    let mut raw = established(server.local_addr()).await;
    raw.send(&frame).await;
    let reply = raw.receive().await.expect("an answer");
    assert_eq!(reply[..2], [REPLY, 0]);

    let mut raw = Raw::established(server.local_addr()).await;
    raw.send(&frame).await;
    assert!(raw.expect_protocol_error().await.contains("unknown frame type 0x0b"));
    healthy.check().await;
}
