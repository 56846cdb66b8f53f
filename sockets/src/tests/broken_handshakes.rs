//! Tests of truncated, corrupted and random handshake messages. A peer refuses them without a panic
//! and without waiting.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    runtime::Builder,
    time::{Instant, timeout},
};

use crate::{
    connect_error::{AcceptError, ConnectError},
    handshake::{encode_accepted, read_hello, refuse, send_hello},
    limits::Limits,
    refusal::Refusal,
    transport::{Compression, Link, over_stream},
};

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { timeout(Duration::from_secs(10), work).await }).expect("the handshake does not wait")
}

fn link() -> (Link, DuplexStream) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(near);
    (over_stream(read, write), far)
}

/// Returns the bytes that `send` sends on a link.
fn bytes_of(send: impl AsyncFnOnce(&mut Link)) -> Vec<u8> {
    run(async {
        let (mut link, mut far) = link();
        send(&mut link).await;
        drop(link);
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.expect("a pipe in memory");
        bytes
    })
}

fn client_hello(login: &[u8]) -> Vec<u8> {
    run(async {
        let (mut link, mut far) = link();
        let limits = Limits::default();
        let reader = async {
            let mut prefix = [0; 4];
            far.read_exact(&mut prefix).await.expect("a prefix");
            let mut message = vec![0; u32::from_le_bytes(prefix) as usize];
            far.read_exact(&mut message).await.expect("a message");
            drop(far);
            [&prefix[..], &message].concat()
        };
        let plain = Compression::default();
        tokio::join!(
            send_hello(&mut link, &limits, &plain, login.to_vec(), None, Instant::now() + Duration::from_secs(5)),
            reader
        )
        .1
    })
}

/// Returns the login that a server reads from these bytes.
fn read_by_server(bytes: &[u8]) -> Result<Vec<u8>, AcceptError> {
    run(async {
        let (mut link, mut far) = link();
        far.write_all(bytes).await.expect("a pipe in memory");
        far.shutdown().await.expect("a pipe in memory");
        read_hello(&mut link, &Limits::default()).await.map(|hello| hello.login)
    })
}

/// Returns the frame limit that a client reads from these bytes.
fn read_by_client(bytes: &[u8]) -> Result<u32, ConnectError> {
    run(async {
        let (mut link, mut far) = link();
        far.write_all(bytes).await.expect("a pipe in memory");
        far.shutdown().await.expect("a pipe in memory");
        send_hello(
            &mut link,
            &Limits::default(),
            &Compression::default(),
            Vec::new(),
            None,
            Instant::now() + Duration::from_secs(5),
        )
        .await
        .map(|accepted| accepted.0.settings.max_frame)
    })
}

fn server_messages() -> [Vec<u8>; 2] {
    let accepted =
        encode_accepted(&Limits::default(), &Compression::default(), None).expect("it can be encoded").into();
    let refusal = bytes_of(async |link| {
        let refused: Result<(), _> = refuse(link, Refusal::new("not today"), false).await;
        assert!(matches!(refused, Err(AcceptError::Refused(_))));
    });
    [accepted, refusal]
}

#[test]
fn complete_messages_are_decoded() {
    assert_eq!(read_by_server(&client_hello(b"a login")).expect("a client hello"), b"a login");
    let [accepted, refusal] = server_messages();
    assert_eq!(read_by_client(&accepted).expect("a server hello"), Limits::default().max_frame);
    assert!(
        matches!(read_by_client(&refusal), Err(ConnectError::Refused(received)) if received.message() == "not today")
    );
}

/// Fault 4 of RELIABILITY.md.
#[test]
fn truncated_messages_are_refused() {
    let client_hello = client_hello(b"a login");
    for length in 0..client_hello.len() {
        assert!(read_by_server(&client_hello[..length]).is_err(), "{length} bytes of a client hello");
    }
    for message in server_messages() {
        for length in 0..message.len() {
            let outcome = read_by_client(&message[..length]);
            assert!(
                matches!(outcome, Err(ConnectError::Handshake(_))),
                "{length} bytes of a server message: {outcome:?}"
            );
        }
    }
}

#[test]
fn truncated_messages_with_matching_prefix_are_refused() {
    // The prefix has the length of the truncated message.
    let shorten = |message: &[u8], length: usize| {
        let prefix = u32::try_from(length).expect("a short message").to_le_bytes();
        [&prefix[..], &message[4..4 + length]].concat()
    };
    let client_hello = client_hello(b"a login");
    for length in 0..client_hello.len() - 4 {
        assert!(read_by_server(&shorten(&client_hello, length)).is_err(), "{length} bytes of a client hello");
    }
    for message in server_messages() {
        for length in 0..message.len() - 4 {
            assert!(read_by_client(&shorten(&message, length)).is_err(), "{length} bytes of a server message");
        }
    }
}

#[test]
fn other_version_is_detected_with_any_body() {
    for message in server_messages() {
        let mut other = Bytes::from(message).to_vec();
        other[8] = 2;
        for byte in &mut other[10..] {
            *byte = 0xff;
        }
        assert!(matches!(read_by_client(&other), Err(ConnectError::Version { ours: 1, theirs: 2 })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flipped_bytes_are_refused_or_decoded(flip in 1..=255u8, login in vec(any::<u8>(), 0..20)) {
        let client_hello = client_hello(&login);
        for at in 0..client_hello.len() {
            let mut flipped = client_hello.clone();
            flipped[at] ^= flip;
            let outcome = read_by_server(&flipped);
            // Any other prefix, magic bytes or version is invalid.
            prop_assert!(at >= 9 || outcome.is_err(), "byte {at}");
        }
        for message in server_messages() {
            for at in 0..message.len() {
                let mut flipped = message.clone();
                flipped[at] ^= flip;
                let outcome = read_by_client(&flipped);
                prop_assert!(at >= 9 || outcome.is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 0..100)) {
        prop_assert!(read_by_server(&bytes).is_err());
        prop_assert!(read_by_client(&bytes).is_err());
    }
}
