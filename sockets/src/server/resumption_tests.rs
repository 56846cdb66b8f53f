//! Tests of the resumption of sessions: valid, invalid, delayed and declined requests.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout},
};

use super::{Server, Socket};
use crate::{
    codec::{Payload, encode},
    connect_error::ConnectError,
    disconnect_reason::DisconnectReason,
    handshake::{ResumeGrant, ResumeRequest, Resumption, send_hello},
    limits::Limits,
    lock::Notify,
    refusal::Refusal,
    session::{Checked, Declined, ResumedConnection},
    transport::{Compression, ConnectInfo, Incoming, Link, memory_pair, over_stream},
};
use sockets_proto::{CallId, CloseReason, Frame, SendBuffer, Token, next_frame};

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

fn server() -> Server<u32> {
    Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).build()
}

/// A client that consists of its link only.
pub(super) struct RawClient {
    link: Link,
    grant: ResumeGrant,
}

pub(super) async fn connect_raw(server: &Server<u32>, login: u32, resumption: Resumption) -> RawClient {
    try_connect(server, login, resumption).await.unwrap()
}

async fn try_connect(server: &Server<u32>, login: u32, resumption: Resumption) -> Result<RawClient, ConnectError> {
    let (mut link, far) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(far, ConnectInfo::over("memory"))));
    let login = encode(&login).unwrap();
    let (limits, plain) = (Limits::default(), Compression::default());
    let deadline = Instant::now() + TIMEOUT;
    let (peer_settings, grant) = send_hello(&mut link, &limits, &plain, login, Some(resumption), deadline).await?;
    assert!(peer_settings.retransmit_limit.is_some());
    Ok(RawClient { link, grant: grant.unwrap() })
}

async fn resume(server: &Server<u32>, login: u32, token: &Token) -> RawClient {
    connect_raw(server, login, Resumption::Resume(request_for(token))).await
}

/// Returns a request of a client that has received nothing. The request is newer than all former
/// requests.
fn request_for(token: &Token) -> ResumeRequest {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(1);
    ResumeRequest {
        token: token.clone(),
        received: 0,
        first_retained: 0,
        attempt: ATTEMPTS.fetch_add(1, Ordering::Relaxed),
    }
}

impl RawClient {
    /// Returns `true` if the client has resumed an existing session.
    fn is_resumed(&self) -> bool {
        self.grant.received.is_some()
    }

    async fn send(&mut self, frame: Frame) {
        self.send_with(frame, &[]).await;
    }

    /// Sends a frame with a payload.
    pub(super) async fn send_with(&mut self, frame: Frame, payload: &[u8]) {
        let mut outbox = SendBuffer::default();
        outbox.push(frame.header(), &Payload::Copied(payload));
        poll_fn(|cx| self.link.transmitter.poll_transmit(cx, &mut outbox)).await.unwrap();
    }

    /// Receives frames up to the first that meets the condition.
    async fn receive_until(&mut self, wanted: impl Fn(Frame) -> bool) {
        let receive = async {
            loop {
                while let Some(mut frame) = next_frame(&mut self.link.received) {
                    if wanted(Frame::decode(&mut frame).unwrap()) {
                        return;
                    }
                }
                self.link.received =
                    poll_fn(|cx| self.link.receiver.poll_receive(cx, 1 << 20)).await.unwrap_or(Bytes::new());
            }
        };
        timeout(TIMEOUT, receive).await.expect("the frame arrives");
    }
}

#[tokio::test]
async fn token_is_valid_once_and_for_its_identity() {
    let server = server();
    let first = connect_raw(&server, 1, Resumption::New).await.grant.token;
    assert!(!resume(&server, 2, &first).await.is_resumed(), "the token of another identity");
    assert!(!resume(&server, 1, &Token::new(first.session()).unwrap()).await.is_resumed(), "a guessed token");
    assert!(!resume(&server, 1, &Token::new(1000).unwrap()).await.is_resumed(), "a token of no session");

    // The connection may have broken before the client received its next token. The first token is
    // therefore still valid.
    assert!(resume(&server, 1, &first).await.is_resumed());
    let mut third = resume(&server, 1, &first).await;
    assert!(third.is_resumed());
    third.send(Frame::Ack { position: 0 }).await;
    let socket = server.sockets_of(&1).remove(0);
    let acknowledged = async {
        while socket.session().verify_token(&request_for(&first)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, acknowledged).await.expect("the session receives the acknowledgement");
    assert!(!resume(&server, 1, &first).await.is_resumed(), "a used token");
    assert!(resume(&server, 1, &third.grant.token).await.is_resumed());
}

#[tokio::test]
async fn session_moves_to_the_newest_connection() {
    let server = server();
    let mut older = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let mut newer = resume(&server, 1, &older.grant.token).await;
    assert!(newer.is_resumed());
    older.receive_until(|frame| frame == Frame::Close { reason: CloseReason::Superseded }).await;
    socket.emit("hello", &()).await.unwrap();
    newer.receive_until(|frame| matches!(frame, Frame::Emit { .. })).await;
    assert_eq!(server.sockets(), [socket]);
}

#[tokio::test]
async fn client_that_missed_too_much_has_a_new_session() {
    let limits = Limits::new().resume_bytes(1000);
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let mut client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    for _ in 0..10 {
        socket.emit("hello", &[0_u8; 200][..]).await.unwrap();
    }
    client.receive_until(|frame| matches!(frame, Frame::Emit { .. })).await;
    assert!(!resume(&server, 1, &client.grant.token).await.is_resumed());
    let reason = timeout(TIMEOUT, socket.disconnected()).await.unwrap();
    assert!(reason.to_string().contains("not retained"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn detached_sessions_are_limited_in_number_and_time() {
    let limits = Limits::new().resume_sessions(1);
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let first = connect_raw(&server, 1, Resumption::New).await;
    let second = connect_raw(&server, 2, Resumption::New).await;
    let sockets = server.sockets();
    let began = Instant::now();
    drop(first);
    // The session is detached when it has taken the only slot.
    while !sockets[0].session().is_detached() {
        tokio::task::yield_now().await;
    }
    drop(second);
    sockets[0].disconnected().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "the other session took the slot");
    assert!(sockets[1].is_connected());
    sockets[1].disconnected().await;
    assert_eq!(began.elapsed().as_secs(), 30, "the session expires");
}

/// Connects over a narrow pipe. The client reads nothing after the handshake.
async fn connect_without_reading(server: &Server<u32>, resumption: Resumption) -> RawClient {
    let (near, far) = tokio::io::duplex(2048);
    drop(server.accept(far));
    let (read, write) = tokio::io::split(near);
    let mut link = over_stream(read, write);
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, deadline) = (encode(&1_u32).unwrap(), Instant::now() + TIMEOUT);
    let (_, grant) = send_hello(&mut link, &limits, &plain, login, Some(resumption), deadline).await.unwrap();
    RawClient { link, grant: grant.unwrap() }
}

#[tokio::test(start_paused = true)]
async fn client_that_never_reads_cannot_grow_memory() {
    const REPLY: usize = 300_000;
    let limits = Limits::default();
    let server = Server::builder()
        .authenticate(|login: u32| async move { Ok::<_, Refusal>(login) })
        .connected(|socket: Socket<u32>| async move {
            socket.listen("large", |(): ()| async { vec![7_u8; REPLY] });
        })
        .build();
    let mut client = connect_without_reading(&server, Resumption::New).await;
    let token = client.grant.token.clone();
    let socket = server.sockets().remove(0);
    let mut number = 0;
    for _ in 0..40 {
        for _ in 0..6 {
            number += 1;
            let id = CallId { number, shared: false };
            client.send(Frame::Request { id, timeout: 30_000, key: sockets_proto::name::key("", "large") }).await;
        }
        // All tasks that are ready run before the paused time advances.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let limit = limits.resume_bytes + 2 * limits.outgoing_queue;
        let held = socket.session().held_bytes();
        assert!(held < limit as usize + 2 * REPLY, "{held} bytes are held");
        // The client claims the earliest position from which the server can still retransmit.
        let request = ResumeRequest { received: socket.session().positions().1, ..request_for(&token) };
        client = connect_without_reading(&server, Resumption::Resume(request)).await;
        assert!(client.is_resumed());
    }
}

#[tokio::test]
async fn refused_request_ends_no_connected_session() {
    let authenticate = |login: u32| async move { if login == 0 { Err(Refusal::new("closed")) } else { Ok(login) } };
    let server = Server::builder().authenticate(authenticate).build();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets_of(&1).remove(0);
    let request = Resumption::Resume(request_for(&client.grant.token));
    assert!(try_connect(&server, 0, request).await.is_err());
    assert!(socket.is_connected());
}

#[tokio::test]
async fn refused_request_ends_no_session_with_a_later_attempt() {
    let (refusals, logins) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifies = (Arc::clone(&refusals), Arc::clone(&logins));
    let server = Server::builder().authenticate(move |login: u32| {
        let (refusals, logins) = notifies.clone();
        async move {
            match login {
                0 => refusals.notified().await,
                1 => logins.notified().await,
                _ => return Ok(1),
            }
            if login == 0 { Err(Refusal::new("closed")) } else { Ok(1) }
        }
    });
    let server = server.build();
    let client = connect_raw(&server, 2, Resumption::New).await;
    let socket = server.sockets_of(&1).remove(0);
    let token = client.grant.token.clone();
    drop(client);
    let request = |login| {
        let (server, request) = (server.clone(), Resumption::Resume(request_for(&token)));
        tokio::spawn(async move { try_connect(&server, login, request).await })
    };
    let (refused, resumed) = (request(0), request(1));
    // The server starts the authentication of both requests.
    tokio::task::yield_now().await;
    while Arc::strong_count(&refusals) < 4 {
        tokio::task::yield_now().await;
    }
    refusals.notify_one();
    assert!(refused.await.unwrap().is_err());
    logins.notify_one();
    assert!(resumed.await.unwrap().unwrap().is_resumed());
    assert_eq!(server.sockets_of(&1), [socket]);
}

#[tokio::test]
async fn impossible_position_is_a_protocol_error() {
    for frames in [
        &[Frame::Skipped { bytes: u64::MAX }, Frame::Emit { key: 1 }][..],
        &[Frame::Skipped { bytes: u64::MAX }, Frame::Skipped { bytes: 1 }],
        &[Frame::Ack { position: u64::MAX }],
    ] {
        let server = server();
        let mut client = connect_raw(&server, 1, Resumption::New).await;
        let socket = server.sockets().remove(0);
        for frame in frames {
            client.send(*frame).await;
        }
        let reason = timeout(TIMEOUT, socket.disconnected()).await.unwrap();
        assert!(matches!(reason, DisconnectReason::ProtocolViolation(_)), "{frames:?}: {reason}");
    }
}

/// The request arrives after the session has lost its connection and while the session waits for
/// the next connection.
#[tokio::test]
async fn disconnected_session_accepts_no_connection() {
    let server = server();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let (first, token) = (server.sockets().remove(0), client.grant.token.clone());
    drop(client);
    while !first.session().is_detached() {
        tokio::task::yield_now().await;
    }
    first.disconnect("enough");
    let late_client = resume(&server, 1, &token).await;
    assert!(!late_client.is_resumed());
    let reason = timeout(TIMEOUT, first.disconnected()).await.unwrap();
    assert_eq!(reason.message(), Some("enough"));
}

/// A request with a position within a frame starts a new session.
#[tokio::test]
async fn position_within_a_frame_starts_a_new_session() {
    for within in [1, 3, 20] {
        let server = server();
        let mut client = connect_raw(&server, 1, Resumption::New).await;
        let socket = server.sockets().remove(0);
        socket.emit("hello", &[7_u8; 50][..]).await.unwrap();
        client.receive_until(|frame| matches!(frame, Frame::Emit { .. })).await;
        let received = socket.session().positions().1 + within;
        let request = ResumeRequest { received, ..request_for(&client.grant.token) };
        assert!(
            !connect_raw(&server, 1, Resumption::Resume(request)).await.is_resumed(),
            "{within} bytes within a frame"
        );
        let reason = timeout(TIMEOUT, socket.disconnected()).await.unwrap();
        assert!(reason.to_string().contains("not retained"), "{reason}");
    }
}

/// Offers a link to a session, as the server does after it has checked the request of a connection.
/// Returns the other end of the link and the outcome.
fn offer(socket: &Socket<u32>, token: &Token) -> (Link, oneshot::Receiver<Declined>) {
    let (near, link) = memory_pair();
    let request = request_for(token);
    let (declined, outcome) = oneshot::channel();
    let welcome = Box::new(|link, _: &ResumeGrant| (link, Bytes::new()));
    let (token, adopt) = (Token::new(token.session()).unwrap(), Box::new(|| {}));
    socket.session().offer_connection(ResumedConnection { link, request, token, adopt, accept: welcome, declined });
    (near, outcome)
}

#[tokio::test]
async fn rejected_links_are_declined_with_a_message() {
    let limits = Limits::new().resume_bytes(1000);
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let (socket, token) = (server.sockets().remove(0), client.grant.token.clone());
    let (_older, superseded) = offer(&socket, &token);
    let (_newer, overflown) = offer(&socket, &token);
    // Before the session accepts the link, it sends more than it retains.
    for _ in 0..2 {
        socket.emit("hello", &[0_u8; 10_000][..]).await.unwrap();
    }
    let message = timeout(TIMEOUT, superseded).await.unwrap().unwrap().message;
    assert!(message.contains("another connection"), "{message}");
    let message = timeout(TIMEOUT, overflown).await.unwrap().unwrap().message;
    assert!(message.contains("cannot be resumed"), "{message}");
    let reason = timeout(TIMEOUT, socket.disconnected()).await.unwrap();
    assert!(reason.to_string().contains("not retained"), "{reason}");
    let (_late, over) = offer(&socket, &token);
    assert!(timeout(TIMEOUT, over).await.unwrap().is_ok(), "the session has ended");
}

#[tokio::test]
async fn offered_link_is_declined_after_disconnect() {
    let server = server();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let (_near, declined) = offer(&socket, &client.grant.token);
    socket.disconnect("enough");
    assert!(timeout(TIMEOUT, declined).await.unwrap().is_ok(), "the link is declined with an outcome");
}

#[tokio::test]
async fn accepted_link_is_not_declined() {
    let server = server();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let (_near, declined) = offer(&socket, &client.grant.token);
    assert!(timeout(TIMEOUT, declined).await.unwrap().is_err(), "the link is accepted");
    assert!(socket.is_connected());
}

/// Returns a server that authenticates a client for each permit.
fn server_with_permits(count: usize) -> (Server<u32>, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(count));
    let authenticating = Arc::clone(&permits);
    let server = Server::builder().authenticate(move |login: u32| {
        let permits = Arc::clone(&authenticating);
        async move {
            permits.acquire().await.unwrap().forget();
            Ok::<_, Refusal>(login)
        }
    });
    (server.build(), permits)
}

/// Servers authenticate in parallel, and networks delay messages. A server may therefore handle the
/// request of an abandoned connection after the request of the next connection.
#[tokio::test]
async fn delayed_request_does_not_supersede_a_later_one() {
    let (server, permits) = server_with_permits(2);
    let first = connect_raw(&server, 1, Resumption::New).await.grant.token;
    let socket = server.sockets().remove(0);
    let (earlier, later) = (request_for(&first), request_for(&first));
    let mut newer = connect_raw(&server, 1, Resumption::Resume(later)).await;
    assert!(newer.is_resumed());

    let (mut link, far) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(far, ConnectInfo::over("memory"))));
    permits.add_permits(1);
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, resumption) = (encode(&1_u32).unwrap(), Some(Resumption::Resume(earlier)));
    match send_hello(&mut link, &limits, &plain, login, resumption, Instant::now() + TIMEOUT).await {
        Err(ConnectError::Refused(refusal)) => assert!(refusal.retry_after().is_some(), "{refusal}"),
        other => panic!("the delayed request ends with {other:?}"),
    }
    socket.emit("hello", &()).await.unwrap();
    newer.receive_until(|frame| matches!(frame, Frame::Emit { .. })).await;
    permits.add_permits(1);
    assert!(resume(&server, 1, &newer.grant.token).await.is_resumed(), "its token is still valid");
    assert_eq!(server.sockets(), [socket]);
}

/// A delayed request may contain a position that the server no longer retains. Such a request must
/// not end the session.
#[tokio::test]
async fn delayed_request_does_not_end_the_session() {
    let server = server();
    let client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let earlier = ResumeRequest { received: 1 << 40, ..request_for(&client.grant.token) };
    let (_newer, declined) = offer(&socket, &client.grant.token);
    assert!(timeout(TIMEOUT, declined).await.unwrap().is_err(), "the later request is accepted");
    assert_eq!(socket.session().check(&earlier), Checked::Superseded);
    assert!(socket.is_connected());
    assert!(!socket.session().is_ending());
}

#[tokio::test]
async fn request_answered_too_late_does_not_end_the_session() {
    let (server, permits) = server_with_permits(1);
    let token = connect_raw(&server, 1, Resumption::New).await.grant.token;
    let socket = server.sockets().remove(0);
    let (mut link, far) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(far, ConnectInfo::over("memory"))));
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, resumption) = (encode(&1_u32).unwrap(), Some(Resumption::Resume(request_for(&token))));
    let late = send_hello(&mut link, &limits, &plain, login, resumption, Instant::now()).await;
    assert!(matches!(late, Err(ConnectError::Handshake(_))), "{late:?}");
    permits.add_permits(1);
    let welcome = timeout(TIMEOUT, poll_fn(|cx| link.receiver.poll_receive(cx, 1 << 20))).await.unwrap();
    assert!(welcome.is_ok(), "the session uses the connection");
    permits.add_permits(1);
    assert!(resume(&server, 1, &token).await.is_resumed());
    assert!(socket.is_connected());
}

/// Handlers run in the driver's task and may block the driver's thread. In this case, the session
/// accepts the next connection only after the handler has returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumption_waiting_for_driver_frees_the_handshake() {
    let limits = Limits::new().handshakes(1).authentication(Duration::from_secs(3));
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let mut client = connect_raw(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let block = Arc::new(());
    let blocks = Arc::downgrade(&block);
    let (started, mut handler_started) = tokio::sync::mpsc::unbounded_channel();
    socket.listen("block", move |(): ()| {
        started.send(()).unwrap();
        // The handler ends with the test, even if the test fails.
        while blocks.strong_count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        async {}
    });
    let id = CallId { number: 1, shared: false };
    client.send(Frame::Request { id, timeout: 30_000, key: sockets_proto::name::key("", "block") }).await;
    timeout(TIMEOUT, handler_started.recv()).await.unwrap().unwrap();

    let (mut link, far) = memory_pair();
    let mut accepting = server.accept_incoming(Incoming::Open(far, ConnectInfo::over("memory")));
    let (limits, plain) = (Limits::default(), Compression::default());
    let resumption = Some(Resumption::Resume(request_for(&client.grant.token)));
    let login = encode(&1_u32).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let resuming =
        tokio::spawn(async move { send_hello(&mut link, &limits, &plain, login, resumption, deadline).await.is_ok() });
    while !socket.session().has_resumed_connection() {
        tokio::task::yield_now().await;
    }
    assert!(timeout(TIMEOUT, connect_raw(&server, 2, Resumption::New)).await.is_ok(), "another client is admitted");
    assert!((&mut accepting).now_or_never().is_none(), "the session has not accepted the connection yet");
    let late = timeout(TIMEOUT, accepting).await.expect("the handshake has a time limit").unwrap_err();
    assert!(late.to_string().contains("in time"), "{late}");
    drop(block);
    assert!(resuming.await.unwrap(), "the session accepts the connection");
}
