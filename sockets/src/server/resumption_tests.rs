//! Who may go on with a session, and who may not.

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
    refusal::Refusal,
    session::{Checked, Declined, ResumedConnection},
    transport::{Compression, ConnectInfo, Incoming, Link, memory_pair, over_stream},
};
use sockets_proto::{CallId, CloseReason, Frame, SendBuffer, Token, next_frame};

pub(super) const PATIENCE: Duration = Duration::from_secs(5);

fn server() -> Server<u32> {
    Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).build()
}

/// One who comes to a server, with nothing of a client but its link.
pub(super) struct Visitor {
    link: Link,
    granted: ResumeGrant,
}

pub(super) async fn come(server: &Server<u32>, login: u32, resumption: Resumption) -> Visitor {
    let (mut link, theirs) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(theirs, ConnectInfo::over("memory"))));
    let login = encode(&login).unwrap();
    let (limits, plain) = (Limits::default(), Compression::default());
    let deadline = Instant::now() + PATIENCE;
    let (theirs, granted) = send_hello(&mut link, &limits, &plain, login, Some(resumption), deadline).await.unwrap();
    assert!(theirs.retransmit_limit.is_some());
    Visitor { link, granted: granted.unwrap() }
}

async fn come_back(server: &Server<u32>, login: u32, token: &Token) -> Visitor {
    come(server, login, Resumption::Resume(claim_of(token))).await
}

/// A claim by a client that has received nothing, made after all former ones.
fn claim_of(token: &Token) -> ResumeRequest {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(1);
    ResumeRequest { token: token.clone(), received: 0, kept: 0, attempt: ATTEMPTS.fetch_add(1, Ordering::Relaxed) }
}

impl Visitor {
    /// Whether it goes on with a session that there was.
    fn goes_on(&self) -> bool {
        self.granted.received.is_some()
    }

    async fn say(&mut self, frame: Frame) {
        self.say_with(frame, &[]).await;
    }

    /// The same of a frame with a payload.
    pub(super) async fn say_with(&mut self, frame: Frame, payload: &[u8]) {
        let mut outbox = SendBuffer::default();
        outbox.push(frame.header(), &Payload::Copied(payload));
        poll_fn(|cx| self.link.transmitter.poll_transmit(cx, &mut outbox)).await.unwrap();
    }

    /// The next frame of this sort.
    async fn hear(&mut self, wanted: impl Fn(Frame) -> bool) {
        let hearing = async {
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
        timeout(PATIENCE, hearing).await.expect("it comes");
    }
}

#[tokio::test]
async fn a_token_is_good_once_and_for_its_identity() {
    let server = server();
    let first = come(&server, 1, Resumption::New).await.granted.token;
    assert!(!come_back(&server, 2, &first).await.goes_on(), "a stolen one, of somebody else");
    assert!(!come_back(&server, 1, &Token::new(first.session()).unwrap()).await.goes_on(), "a guessed one");
    assert!(!come_back(&server, 1, &Token::new(1000).unwrap()).await.goes_on(), "one of no session");

    // The link may have broken before the client has heard of the next one.
    assert!(come_back(&server, 1, &first).await.goes_on());
    let mut third = come_back(&server, 1, &first).await;
    assert!(third.goes_on());
    third.say(Frame::Ack { position: 0 }).await;
    let socket = server.sockets_of(&1).remove(0);
    let known = async {
        while socket.session().verify_token(&first) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, known).await.expect("it has heard of it");
    assert!(!come_back(&server, 1, &first).await.goes_on(), "an old one");
    assert!(come_back(&server, 1, &third.granted.token).await.goes_on());
}

#[tokio::test]
async fn a_session_that_two_connections_claim_belongs_to_the_newer_one() {
    let server = server();
    let mut older = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let mut newer = come_back(&server, 1, &older.granted.token).await;
    assert!(newer.goes_on());
    older.hear(|frame| frame == Frame::Close { reason: CloseReason::Superseded }).await;
    socket.emit("hello", &()).await.unwrap();
    newer.hear(|frame| matches!(frame, Frame::Emit { .. })).await;
    assert_eq!(server.sockets(), [socket]);
}

#[tokio::test]
async fn who_has_missed_more_than_is_kept_gets_another_session_and_the_first_one_ends() {
    let limits = Limits { resume_bytes: 1000, ..Limits::default() };
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let mut visitor = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    for _ in 0..10 {
        socket.emit("hello", &[0_u8; 200][..]).await.unwrap();
    }
    visitor.hear(|frame| matches!(frame, Frame::Emit { .. })).await;
    assert!(!come_back(&server, 1, &visitor.granted.token).await.goes_on());
    let reason = timeout(PATIENCE, socket.disconnected()).await.unwrap();
    assert!(reason.to_string().contains("not retained"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn sessions_that_wait_are_limited_in_number_and_time() {
    let limits = Limits { resume_sessions: 1, ..Limits::default() };
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let first = come(&server, 1, Resumption::New).await;
    let second = come(&server, 2, Resumption::New).await;
    let sockets = server.sockets();
    let began = Instant::now();
    drop(first);
    // It is away when it has taken the one place there is.
    while !sockets[0].session().is_detached() {
        tokio::task::yield_now().await;
    }
    drop(second);
    sockets[0].disconnected().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "the other one has its place");
    assert!(sockets[1].is_connected());
    sockets[1].disconnected().await;
    assert_eq!(began.elapsed().as_secs(), 30, "the time is over");
}

/// One who comes over a narrow pipe, and reads nothing more once it is let in.
async fn come_and_read_nothing(server: &Server<u32>, resumption: Resumption) -> Visitor {
    let (near, far) = tokio::io::duplex(2048);
    drop(server.accept(far));
    let (read, write) = tokio::io::split(near);
    let mut link = over_stream(read, write);
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, deadline) = (encode(&1_u32).unwrap(), Instant::now() + PATIENCE);
    let (_, granted) = send_hello(&mut link, &limits, &plain, login, Some(resumption), deadline).await.unwrap();
    Visitor { link, granted: granted.unwrap() }
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_comes_back_and_reads_nothing_makes_nothing_grow() {
    const REPLY: usize = 300_000;
    let limits = Limits::default();
    let server = Server::builder()
        .authenticate(|login: u32| async move { Ok::<_, Refusal>(login) })
        .connected(|socket: Socket<u32>| async move {
            socket.listen("large", |(): ()| async { vec![7_u8; REPLY] });
        })
        .build();
    let mut visitor = come_and_read_nothing(&server, Resumption::New).await;
    let token = visitor.granted.token.clone();
    let socket = server.sockets().remove(0);
    let mut number = 0;
    for _ in 0..40 {
        for _ in 0..6 {
            number += 1;
            let id = CallId { number, shared: false };
            visitor.say(Frame::Request { id, timeout: 30_000, key: sockets_proto::name::key("", "large") }).await;
        }
        // All that can go on does, before time does.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let most = limits.resume_bytes + 2 * limits.outgoing_queue;
        let held = socket.session().held_bytes();
        assert!(held < most as usize + 2 * REPLY, "{held} bytes are held");
        // It claims to have as little as it can.
        let claim = ResumeRequest { received: socket.session().positions().1, ..claim_of(&token) };
        visitor = come_and_read_nothing(&server, Resumption::Resume(claim)).await;
        assert!(visitor.goes_on());
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_is_a_violation() {
    for frames in [
        &[Frame::Skipped { bytes: u64::MAX }, Frame::Emit { key: 1 }][..],
        &[Frame::Skipped { bytes: u64::MAX }, Frame::Skipped { bytes: 1 }],
        &[Frame::Ack { position: u64::MAX }],
    ] {
        let server = server();
        let mut visitor = come(&server, 1, Resumption::New).await;
        let socket = server.sockets().remove(0);
        for frame in frames {
            visitor.say(*frame).await;
        }
        let reason = timeout(PATIENCE, socket.disconnected()).await.unwrap();
        assert!(matches!(reason, DisconnectReason::ProtocolViolation(_)), "{frames:?}: {reason}");
    }
}

/// It is asked of in the middle: when its last link has ended, and the next one is waited for.
#[tokio::test]
async fn a_session_that_is_disconnected_takes_no_other_link() {
    let server = server();
    let visitor = come(&server, 1, Resumption::New).await;
    let (first, token) = (server.sockets().remove(0), visitor.granted.token.clone());
    drop(visitor);
    while !first.session().is_detached() {
        tokio::task::yield_now().await;
    }
    first.disconnect("enough");
    let newcomer = come_back(&server, 1, &token).await;
    assert!(!newcomer.goes_on());
    let reason = timeout(PATIENCE, first.disconnected()).await.unwrap();
    assert_eq!(reason.message(), Some("enough"));
}

/// A claim has to be answered whatever it says: here with another session.
#[tokio::test]
async fn a_claim_of_a_position_within_a_frame_begins_another_session() {
    for within in [1, 3, 20] {
        let server = server();
        let mut visitor = come(&server, 1, Resumption::New).await;
        let socket = server.sockets().remove(0);
        socket.emit("hello", &[7_u8; 50][..]).await.unwrap();
        visitor.hear(|frame| matches!(frame, Frame::Emit { .. })).await;
        let received = socket.session().positions().1 + within;
        let claim = ResumeRequest { received, ..claim_of(&visitor.granted.token) };
        assert!(!come(&server, 1, Resumption::Resume(claim)).await.goes_on(), "{within} bytes within a frame");
        let reason = timeout(PATIENCE, socket.disconnected()).await.unwrap();
        assert!(reason.to_string().contains("not retained"), "{reason}");
    }
}

/// Offers a link to a session as a connection does whose claim has been checked. Returns the other end of the link,
/// and the answer.
fn offer(socket: &Socket<u32>, token: &Token) -> (Link, oneshot::Receiver<Declined>) {
    let (near, link) = memory_pair();
    let claim = claim_of(token);
    let (declined, answer) = oneshot::channel();
    let welcome = Box::new(|link, _: &ResumeGrant| (link, Bytes::new()));
    let (token, adopt) = (Token::new(token.session()).unwrap(), Box::new(|| {}));
    socket.session().offer_connection(ResumedConnection {
        link,
        request: claim,
        token,
        adopt,
        accept: welcome,
        declined,
    });
    (near, answer)
}

#[tokio::test]
async fn links_that_a_session_does_not_take_are_declined_with_a_message() {
    let limits = Limits { resume_bytes: 1000, ..Limits::default() };
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let visitor = come(&server, 1, Resumption::New).await;
    let (socket, token) = (server.sockets().remove(0), visitor.granted.token.clone());
    let (_older, superseded) = offer(&socket, &token);
    let (_newer, overflown) = offer(&socket, &token);
    // Before the session takes the link, it sends more than it keeps.
    for _ in 0..2 {
        socket.emit("hello", &[0_u8; 10_000][..]).await.unwrap();
    }
    let message = timeout(PATIENCE, superseded).await.unwrap().unwrap().message;
    assert!(message.contains("another connection"), "{message}");
    let message = timeout(PATIENCE, overflown).await.unwrap().unwrap().message;
    assert!(message.contains("cannot be resumed"), "{message}");
    let reason = timeout(PATIENCE, socket.disconnected()).await.unwrap();
    assert!(reason.to_string().contains("not retained"), "{reason}");
    let (_late, over) = offer(&socket, &token);
    assert!(timeout(PATIENCE, over).await.unwrap().is_ok(), "the session has ended");
}

#[tokio::test]
async fn an_offered_link_is_declined_when_the_session_is_disconnected() {
    let server = server();
    let visitor = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let (_near, declined) = offer(&socket, &visitor.granted.token);
    socket.disconnect("enough");
    assert!(timeout(PATIENCE, declined).await.unwrap().is_ok(), "it is not dropped without an answer");
}

#[tokio::test]
async fn a_link_that_a_session_takes_is_not_declined() {
    let server = server();
    let visitor = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let (_near, declined) = offer(&socket, &visitor.granted.token);
    assert!(timeout(PATIENCE, declined).await.unwrap().is_err(), "it is taken");
    assert!(socket.is_connected());
}

/// A server that authenticates one client with each permit.
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

/// Servers authenticate in parallel, and networks delay: the claim of a connection that the client has given up may be
/// handled after the claim of its next connection.
#[tokio::test]
async fn delayed_claim_does_not_take_the_session_from_a_later_one() {
    let (server, permits) = server_with_permits(2);
    let first = come(&server, 1, Resumption::New).await.granted.token;
    let socket = server.sockets().remove(0);
    let (earlier, later) = (claim_of(&first), claim_of(&first));
    let mut newer = come(&server, 1, Resumption::Resume(later)).await;
    assert!(newer.goes_on());

    let (mut link, theirs) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(theirs, ConnectInfo::over("memory"))));
    permits.add_permits(1);
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, resumption) = (encode(&1_u32).unwrap(), Some(Resumption::Resume(earlier)));
    match send_hello(&mut link, &limits, &plain, login, resumption, Instant::now() + PATIENCE).await {
        Err(ConnectError::Refused(refusal)) => assert!(refusal.retry_after().is_some(), "{refusal}"),
        other => panic!("the delayed claim is answered with {other:?}"),
    }
    socket.emit("hello", &()).await.unwrap();
    newer.hear(|frame| matches!(frame, Frame::Emit { .. })).await;
    permits.add_permits(1);
    assert!(come_back(&server, 1, &newer.granted.token).await.goes_on(), "its token is still valid");
    assert_eq!(server.sockets(), [socket]);
}

/// The position of a delayed claim may not be retained any more. That is no reason to end the session.
#[tokio::test]
async fn delayed_claim_does_not_end_the_session() {
    let server = server();
    let visitor = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let earlier = ResumeRequest { received: 1 << 40, ..claim_of(&visitor.granted.token) };
    let (_newer, declined) = offer(&socket, &visitor.granted.token);
    assert!(timeout(PATIENCE, declined).await.unwrap().is_err(), "the later claim is taken");
    assert_eq!(socket.session().check(&earlier), Checked::Superseded);
    assert!(socket.is_connected());
    assert!(!socket.session().is_ending());
}

#[tokio::test]
async fn claim_that_is_answered_too_late_does_not_end_the_session() {
    let (server, permits) = server_with_permits(1);
    let token = come(&server, 1, Resumption::New).await.granted.token;
    let socket = server.sockets().remove(0);
    let (mut link, theirs) = memory_pair();
    drop(server.accept_incoming(Incoming::Open(theirs, ConnectInfo::over("memory"))));
    let (limits, plain) = (Limits::default(), Compression::default());
    let (login, resumption) = (encode(&1_u32).unwrap(), Some(Resumption::Resume(claim_of(&token))));
    let late = send_hello(&mut link, &limits, &plain, login, resumption, Instant::now()).await;
    assert!(matches!(late, Err(ConnectError::Handshake(_))), "{late:?}");
    permits.add_permits(1);
    let welcome = timeout(PATIENCE, poll_fn(|cx| link.receiver.poll_receive(cx, 1 << 20))).await.unwrap();
    assert!(welcome.is_ok(), "the session uses the connection");
    permits.add_permits(1);
    assert!(come_back(&server, 1, &token).await.goes_on());
    assert!(socket.is_connected());
}

/// Handlers run in the driver's task, and one may block its thread. The session takes the connection later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumption_that_waits_for_its_driver_frees_the_handshake() {
    let limits = Limits { handshakes: 1, authentication: Duration::from_secs(3), ..Limits::default() };
    let server =
        Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).limits(limits).build();
    let mut visitor = come(&server, 1, Resumption::New).await;
    let socket = server.sockets().remove(0);
    let block = Arc::new(());
    let blocks = Arc::downgrade(&block);
    let (entered, mut has_entered) = tokio::sync::mpsc::unbounded_channel();
    socket.listen("block", move |(): ()| {
        entered.send(()).unwrap();
        // Ends with the test, whether that fails or not.
        while blocks.strong_count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        async {}
    });
    let id = CallId { number: 1, shared: false };
    visitor.say(Frame::Request { id, timeout: 30_000, key: sockets_proto::name::key("", "block") }).await;
    timeout(PATIENCE, has_entered.recv()).await.unwrap().unwrap();

    let (mut link, theirs) = memory_pair();
    let mut accepting = server.accept_incoming(Incoming::Open(theirs, ConnectInfo::over("memory")));
    let (limits, plain) = (Limits::default(), Compression::default());
    let resumption = Some(Resumption::Resume(claim_of(&visitor.granted.token)));
    let login = encode(&1_u32).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let claiming =
        tokio::spawn(async move { send_hello(&mut link, &limits, &plain, login, resumption, deadline).await.is_ok() });
    while !socket.session().has_resumed_connection() {
        tokio::task::yield_now().await;
    }
    assert!(timeout(PATIENCE, come(&server, 2, Resumption::New)).await.is_ok(), "others are admitted");
    assert!((&mut accepting).now_or_never().is_none(), "meanwhile, the session has not taken the connection");
    let late = timeout(PATIENCE, accepting).await.expect("it waits for a limited time").unwrap_err();
    assert!(late.to_string().contains("in time"), "{late}");
    drop(block);
    assert!(claiming.await.unwrap(), "the session takes the connection");
}
