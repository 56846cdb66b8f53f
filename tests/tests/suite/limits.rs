//! The defaults and minimums of limits, and the limits of rooms and names.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use sockets::{Client, Limits, Server};
use sockets_tests::*;

/// Asserts that both builders reject these limits with the same panic. Returns the message of the
/// panic.
fn rejection(limits: &Limits) -> String {
    let message = |code: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(code)).expect_err("the limits are rejected");
        panic.downcast_ref::<String>().expect("a message").clone()
    };
    let server = message(&|| drop(Server::builder().limits(limits.clone())));
    let client = message(&|| drop(Client::builder().limits(limits.clone())));
    assert_eq!(server, client);
    server
}

#[test]
fn limit_below_its_minimum_is_rejected_by_name() {
    let zero = Duration::ZERO;
    let of = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    let cases: [(&str, &str, Limits); 20] = [
        ("max_frame", "128", of(|limits| limits.max_frame = 128)),
        ("max_frame", "0", of(|limits| limits.max_frame = 0)),
        ("max_decoded", "0", of(|limits| limits.max_decoded = 0)),
        ("calls_in_flight", "0", of(|limits| limits.calls_in_flight = 0)),
        ("bytes_in_flight", "0", of(|limits| limits.bytes_in_flight = 0)),
        ("outgoing_queue", "0", of(|limits| limits.outgoing_queue = 0)),
        ("login_bytes", "0", of(|limits| limits.login_bytes = 0)),
        ("connections", "0", of(|limits| limits.connections = 0)),
        ("handshakes", "0", of(|limits| limits.handshakes = 0)),
        ("rooms_per_socket", "0", of(|limits| limits.rooms_per_socket = 0)),
        ("names_per_peer", "0", of(|limits| limits.names_per_peer = 0)),
        ("calls_per_second", "0", of(|limits| limits.calls_per_second = Some(0))),
        ("bytes_per_second", "0", of(|limits| limits.bytes_per_second = Some(0))),
        ("silence", "199ms", of(|limits| limits.silence = Duration::from_millis(199))),
        ("heartbeat", "49ms", of(|limits| limits.heartbeat = Duration::from_millis(49))),
        ("authentication", "0ns", Limits { authentication: zero, ..Limits::default() }),
        ("connected", "0ns", Limits { connected: zero, ..Limits::default() }),
        ("call_timeout", "0ns", Limits { call_timeout: zero, ..Limits::default() }),
        ("stall", "0ns", Limits { stall: zero, ..Limits::default() }),
        ("silence", "0ns", Limits { silence: zero, ..Limits::default() }),
    ];
    for (name, value, limits) in cases {
        let message = rejection(&limits);
        assert!(message.contains(name) && message.contains(value) && message.contains("at least"), "{message}");
    }
}

#[tokio::test]
async fn limits_at_their_minimum_are_accepted() {
    let least = Limits {
        max_frame: 256,
        max_decoded: 256,
        calls_in_flight: 1,
        bytes_in_flight: 1,
        outgoing_queue: 1,
        rooms_per_socket: 1,
        heartbeat: Duration::from_millis(50),
        silence: Duration::from_millis(200),
        shutdown_grace: Duration::ZERO,
        resume_within: Duration::ZERO,
        resume_bytes: 0,
        resume_sessions: 0,
        resume_sessions_bytes: 0,
        ..Limits::default()
    };
    let server = Server::builder().limits(least.clone()).build();
    let client = Client::builder().limits(least).connect_local(&server).await.unwrap();
    server.sockets()[0].listen("next", |number: u32| async move { number + 1 });
    assert_eq!(client.request::<u32>("next", &1_u32).await, Ok(2));
    server.sockets()[0].listen("same", |text: String| async move { text });
    assert_eq!(client.request::<String>("same", "text").await, Ok("text".to_owned()));
    server.shutdown().await;
}

#[tokio::test]
async fn rooms_and_names_of_a_socket_are_limited() {
    let limits = Limits { rooms_per_socket: 3, names_per_peer: 3, ..Limits::default() };
    let server = Server::builder().limits(limits).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let socket = server.sockets().remove(0);
    for room in ["a", "b", "c", "d", "a"] {
        socket.join(room);
    }
    assert_eq!(socket.rooms(), ["a", "b", "c"]);
    socket.leave("a");
    socket.join("d");
    assert_eq!(socket.rooms(), ["b", "c", "d"]);
    for name in ["a", "b", "c", "a"] {
        socket.listen(name, |(): ()| async {});
    }
    let one_more = socket.clone();
    let refused = tokio::spawn(async move { one_more.listen("d", |(): ()| async {}) }).await;
    assert!(refused.unwrap_err().is_panic());
    assert_eq!(within(client.request::<()>("a", &())).await, Ok(()));
}

#[test]
fn limits_have_their_documented_defaults() {
    let limits = Limits::default();
    assert_eq!(limits.max_frame, 4 * 1024 * 1024);
    assert_eq!(limits.calls_in_flight, 1024);
    assert_eq!(limits.outgoing_queue, 4 * 1024 * 1024);
    assert_eq!(limits.authentication, Duration::from_secs(10));
    assert_eq!(limits.connected, Duration::from_secs(10));
    assert_eq!(limits.call_timeout, Duration::from_secs(30));
    assert_eq!(limits.shutdown_grace, Duration::from_secs(10));
}
