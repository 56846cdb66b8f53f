//! Malformed calls, and replies to unknown calls. The connection continues after both.

use std::{sync::mpsc, thread};

use sockets::Limits;
use tokio::runtime::Builder;

use sockets_tests::raw::{
    ECHO, NEST, NOTE, Raw, SUM, UNKNOWN, WAIT, cancel, credit, emit, prefixed, reply, request, request_within, string,
    varint,
};

use super::fixture::{server_and_healthy, server_with};

/// Asserts that the server still serves the raw client.
async fn check(raw: &mut Raw) {
    raw.send(&request(100, ECHO, &string("well"))).await;
    assert_eq!(raw.receive().await, Some(reply(100, &string("well"))));
}

/// Fault 6 of RELIABILITY.md.
#[tokio::test]
async fn bad_request_fails_and_the_connection_continues() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let decode = 3;
    let cases: Vec<(&str, Vec<u8>, u8, &str)> = vec![
        ("an unknown method", request(0, UNKNOWN, b"whatever"), 1, ""),
        ("an emit that is requested", request(0, NOTE, &[1]), 2, "an emit"),
        ("no arguments", request(0, ECHO, &[]), decode, "ends before"),
        ("bytes left over", request(0, ECHO, b"\x01ab"), decode, "trailing"),
        ("a length beyond the bytes left", request(0, ECHO, b"\x05ab"), decode, "length of 5 exceeds the 2"),
        ("a string of 4 GiB", request(0, ECHO, &varint(1 << 32)), decode, "length of 4294967296"),
        ("a list of 2^64 - 1 numbers", request(0, SUM, &varint(u64::MAX)), decode, "length of"),
        ("a length of 65 bits", request(0, SUM, &[0xff; 10]), decode, "integer"),
        ("a string that is not UTF-8", request(0, ECHO, b"\x01\xff"), decode, "UTF-8"),
        ("a number of 33 bits", request(0, SUM, b"\x01\xff\xff\xff\xff\x1f"), decode, "integer"),
        ("a mebibyte of nesting", request(0, NEST, &vec![1; 1 << 20]), decode, "levels deep"),
    ];
    for (what, frame, code, words) in cases {
        raw.send(&frame).await;
        let text = raw.expect_failure(0, code).await;
        assert!(text.contains(words), "{what}: {text}");
        assert!(text.len() < 1000, "{what}: the text is long");
        check(&mut raw).await;
    }
    healthy.check().await;
}

#[tokio::test]
async fn bad_emits_are_dropped_and_return_credit() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let bad = [emit(UNKNOWN, b"x"), emit(NOTE, b""), emit(NOTE, b"\x01\x02"), emit(ECHO, &string("a request"))];
    // The calls use a quarter of the window, which the server returns in a single credit.
    let all: Vec<_> = bad.iter().cycle().take(256).collect();
    for frame in &all {
        raw.send(frame).await;
    }
    let bytes: usize = all.iter().map(|frame| frame.len()).sum();
    assert_eq!(raw.receive().await, Some(credit(256, bytes as u64)));
    check(&mut raw).await;
    healthy.check().await;
}

/// Fault 10 of RELIABILITY.md.
#[tokio::test]
async fn replies_and_cancels_for_unknown_calls_are_ignored() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    for id in [0, 1, 2, 1 << 7, u64::MAX] {
        raw.send(&reply(id, b"a forged reply")).await;
        raw.send(&[&[4], &varint(id)[..], &[9], b"a forged failure"].concat()).await;
        raw.send(&cancel(id)).await;
    }
    check(&mut raw).await;
    healthy.check().await;
}

/// Fault 11 of RELIABILITY.md.
#[tokio::test]
async fn reply_for_another_connections_call_is_ignored() {
    let server = server_with(Limits::default()).await;
    let mut asked = Raw::established(server.local_addr()).await;
    let socket = server.sockets().pop().expect("the socket of the first client");
    let mut forger = Raw::established(server.local_addr()).await;
    let call = tokio::spawn(async move { socket.request::<String>("who", &()).await });
    let question = asked.receive().await.expect("a question");
    let id = question[1];
    assert!(id < 0x80, "an id of one byte: {question:?}");
    forger.send(&reply(id.into(), &string("forged"))).await;
    forger.send(&cancel(id.into())).await;
    // When this check ends, the server has handled the forged frames.
    check(&mut forger).await;
    asked.send(&reply(id.into(), &string("mine"))).await;
    assert_eq!(call.await.expect("no panic"), Ok("mine".to_owned()));
}

/// Fault 8 of RELIABILITY.md.
#[tokio::test]
async fn timeout_of_any_length_is_legal() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    raw.send(&request_within(0, u64::MAX, ECHO, &string("for ever"))).await;
    assert_eq!(raw.receive().await, Some(reply(0, &string("for ever"))));
    raw.send(&request_within(0, u64::MAX, WAIT, &[])).await;
    raw.send(&request_within(2, 0, WAIT, &[])).await;
    assert_eq!(raw.expect_failure(2, 10).await, "");
    // The first request still waits for its reply.
    raw.send(&cancel(0)).await;
    assert_eq!(raw.expect_failure(0, 11).await, "");
    check(&mut raw).await;
    healthy.check().await;
}

#[tokio::test]
async fn request_cancelled_in_its_batch_does_not_start() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    let batch = [prefixed(&request(0, WAIT, &[])), prefixed(&request(2, WAIT, &[])), prefixed(&cancel(2))].concat();
    raw.send_bytes(&batch).await;
    assert_eq!(raw.expect_failure(2, 11).await, "");
    raw.send(&cancel(0)).await;
    assert_eq!(raw.expect_failure(0, 11).await, "");
    let stopped: u64 = server.sockets().iter().map(|socket| socket.stats().cancelled_handlers).sum();
    assert_eq!(stopped, 1, "only the handler of the first request has started");
    healthy.check().await;
}

#[tokio::test]
async fn answered_id_may_be_used_again() {
    let (server, healthy) = server_and_healthy().await;
    let mut raw = Raw::established(server.local_addr()).await;
    for id in [0, 0, 1, u64::MAX, u64::MAX] {
        raw.send(&request(id, ECHO, &string("x"))).await;
        assert_eq!(raw.receive().await, Some(reply(id, &string("x"))));
    }
    healthy.check().await;
}

/// Fault 5 of RELIABILITY.md.
#[test]
fn deep_nesting_does_not_overflow_a_small_stack() {
    let (done, finished) = mpsc::channel();
    // All threads of the test have small stacks. If a stack overflowed, the process would end, and
    // the test would fail.
    let small = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_stack_size(256 * 1024).enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, healthy) = server_and_healthy().await;
            let mut raw = Raw::established(server.local_addr()).await;
            raw.send(&request(0, NEST, &vec![1; 1 << 20])).await;
            let text = raw.expect_failure(0, 3).await;
            assert!(text.contains("levels deep"), "{text}");
            check(&mut raw).await;
            healthy.check().await;
        });
        done.send(()).unwrap();
    });
    finished.recv().expect("the runtime on small stacks went through");
    small.unwrap().join().unwrap();
}
