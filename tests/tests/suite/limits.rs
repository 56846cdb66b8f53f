//! The defaults and minimums of limits, and the limits of rooms and names.

use std::{panic::catch_unwind, time::Duration};

use sockets::{Client, JoinError, Limits, Server};
use sockets_tests::*;

#[test]
fn limit_below_its_minimum_is_rejected_by_its_setter() {
    type Setter = fn(Limits) -> Limits;
    let cases: [(&str, &str, Setter); 18] = [
        ("max_frame", "255: set it to at least 256", |limits| limits.max_frame(255)),
        ("max_decoded", "255: set it to at least 256", |limits| limits.max_decoded(255)),
        ("calls_in_flight", "0: set it to at least 1", |limits| limits.calls_in_flight(0)),
        ("bytes_in_flight", "0: set it to at least 1", |limits| limits.bytes_in_flight(0)),
        ("outgoing_queue", "0: set it to at least 1", |limits| limits.outgoing_queue(0)),
        ("login_bytes", "0: set it to at least 1", |limits| limits.login_bytes(0)),
        ("connections", "0: set it to at least 1", |limits| limits.connections(0)),
        ("handshakes", "0: set it to at least 1", |limits| limits.handshakes(0)),
        ("rooms_per_socket", "0: set it to at least 1", |limits| limits.rooms_per_socket(0)),
        ("names_per_peer", "0: set it to at least 1", |limits| limits.names_per_peer(0)),
        ("calls_per_second", "0: set it to at least 1", |limits| limits.calls_per_second(0)),
        ("bytes_per_second", "0: set it to at least 1", |limits| limits.bytes_per_second(0)),
        ("authentication", "0ns: set it to at least 1ms", |limits| limits.authentication(Duration::ZERO)),
        ("connected", "0ns: set it to at least 1ms", |limits| limits.connected(Duration::ZERO)),
        ("call_timeout", "0ns: set it to at least 1ms", |limits| limits.call_timeout(Duration::ZERO)),
        ("stall", "0ns: set it to at least 1ms", |limits| limits.stall(Duration::ZERO)),
        ("heartbeat", "49ms: set it to at least 50ms", |limits| limits.heartbeat(Duration::from_millis(49))),
        ("silence", "199ms: set it to at least 200ms", |limits| limits.silence(Duration::from_millis(199))),
    ];
    for (name, range, setter) in cases {
        let panic = catch_unwind(|| setter(Limits::new())).expect_err("the value is rejected");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert_eq!(*message, format!("`Limits::{name}` is {range}"));
    }
}

#[tokio::test]
async fn limits_at_their_minimum_are_accepted() {
    let least = Limits::new()
        .max_frame(256)
        .max_decoded(256)
        .calls_in_flight(1)
        .bytes_in_flight(1)
        .outgoing_queue(1)
        .rooms_per_socket(1)
        .heartbeat(Duration::from_millis(50))
        .silence(Duration::from_millis(200))
        .shutdown_grace(Duration::ZERO)
        .resume_within(Duration::ZERO)
        .resume_bytes(0)
        .resume_sessions(0)
        .resume_sessions_bytes(0);
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
    let limits = Limits::new().rooms_per_socket(3).names_per_peer(3);
    let server = Server::builder().limits(limits).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let socket = server.sockets().remove(0);
    for room in ["a", "b", "c"] {
        assert_eq!(socket.join(room), Ok(()));
    }
    assert_eq!(socket.join("d"), Err(JoinError::TooManyRooms { limit: 3 }));
    assert_eq!(socket.join("a"), Ok(()), "the socket is in the room already");
    assert_eq!(socket.rooms(), ["a", "b", "c"]);
    socket.leave("a");
    socket.join("d").unwrap();
    assert_eq!(socket.rooms(), ["b", "c", "d"]);
    for name in ["a", "b", "c", "a"] {
        socket.listen(name, |(): ()| async {});
    }
    let one_more = socket.clone();
    let refused = tokio::spawn(async move { one_more.listen("d", |(): ()| async {}) }).await;
    assert!(refused.unwrap_err().is_panic());
    assert_eq!(within(client.request::<()>("a", &())).await, Ok(()));
}
