//! Greetings and answers that are cut, flipped or made up are refused, and nothing panics or waits.

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
    handshake::{read_hello, refuse, send_hello, welcome},
    limits::Limits,
    refusal::Refusal,
    transport::{Compression, Link, over_stream},
};

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { timeout(Duration::from_secs(10), work).await }).expect("nothing waits")
}

fn link() -> (Link, DuplexStream) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(near);
    (over_stream(read, write), far)
}

/// All that is sent on a link by `send`.
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

fn greeting(login: &[u8]) -> Vec<u8> {
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

/// What a server makes of these bytes.
fn heard(bytes: &[u8]) -> Result<Vec<u8>, AcceptError> {
    run(async {
        let (mut link, mut far) = link();
        far.write_all(bytes).await.expect("a pipe in memory");
        far.shutdown().await.expect("a pipe in memory");
        read_hello(&mut link, &Limits::default()).await.map(|heard| heard.login)
    })
}

/// What a client makes of these bytes.
fn greeted(bytes: &[u8]) -> Result<u32, ConnectError> {
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

fn answers() -> [Vec<u8>; 2] {
    let welcome = welcome(&Limits::default(), &Compression::default(), None).expect("it can be encoded").into();
    let refusal = bytes_of(async |link| {
        let refused: Result<(), _> = refuse(link, Refusal::new("not today"), false).await;
        assert!(matches!(refused, Err(AcceptError::Refused(_))));
    });
    [welcome, refusal]
}

#[test]
fn whole_messages_are_understood() {
    assert_eq!(heard(&greeting(b"a login")).expect("a greeting"), b"a login");
    let [welcome, refusal] = answers();
    assert_eq!(greeted(&welcome).expect("a welcome"), Limits::default().max_frame);
    assert!(matches!(greeted(&refusal), Err(ConnectError::Refused(words)) if words.message() == "not today"));
}

/// Fault 4 of RELIABILITY.md.
#[test]
fn every_truncation_is_refused() {
    let greeting = greeting(b"a login");
    for length in 0..greeting.len() {
        assert!(heard(&greeting[..length]).is_err(), "{length} bytes of a greeting");
    }
    for answer in answers() {
        for length in 0..answer.len() {
            let outcome = greeted(&answer[..length]);
            assert!(matches!(outcome, Err(ConnectError::Handshake(_))), "{length} bytes of an answer: {outcome:?}");
        }
    }
}

#[test]
fn every_truncation_inside_of_its_prefix_is_refused() {
    // The prefix tells the truth, and the message is what is cut.
    let shorten = |message: &[u8], length: usize| {
        let prefix = u32::try_from(length).expect("a short message").to_le_bytes();
        [&prefix[..], &message[4..4 + length]].concat()
    };
    let greeting = greeting(b"a login");
    for length in 0..greeting.len() - 4 {
        assert!(heard(&shorten(&greeting, length)).is_err(), "{length} bytes of a greeting");
    }
    for answer in answers() {
        for length in 0..answer.len() - 4 {
            assert!(greeted(&shorten(&answer, length)).is_err(), "{length} bytes of an answer");
        }
    }
}

#[test]
fn another_version_is_told_apart_whatever_its_body_is() {
    for answer in answers() {
        let mut other = Bytes::from(answer).to_vec();
        other[8] = 2;
        for byte in &mut other[10..] {
            *byte = 0xff;
        }
        assert!(matches!(greeted(&other), Err(ConnectError::Version { ours: 1, theirs: 2 })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flipped_bytes_are_refused_or_another_message(flip in 1..=255u8, login in vec(any::<u8>(), 0..20)) {
        let greeting = greeting(&login);
        for at in 0..greeting.len() {
            let mut flipped = greeting.clone();
            flipped[at] ^= flip;
            let heard = heard(&flipped);
            // The prefix, the magic bytes and the version leave no choice.
            prop_assert!(at >= 9 || heard.is_err(), "byte {at}");
        }
        for answer in answers() {
            for at in 0..answer.len() {
                let mut flipped = answer.clone();
                flipped[at] ^= flip;
                let greeted = greeted(&flipped);
                prop_assert!(at >= 9 || greeted.is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn made_up_bytes_are_refused(bytes in vec(any::<u8>(), 0..100)) {
        prop_assert!(heard(&bytes).is_err());
        prop_assert!(greeted(&bytes).is_err());
    }
}
