//! Refusals by authentication and by the `connected` hook. A refusal may be final, or allow another
//! attempt.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sockets::{
    CallError, Client, ClientState, ConnectError, DisconnectReason, Limits, Refusal, Server, Socket, test_util::Link,
};
use sockets_tests::{eventually, every_transport, is_restart, reconnecting, session_of, within};
use tokio::sync::Notify;

/// Returns limits with which a session ends with its connection. A client that reconnects therefore
/// gets a new session.
fn forgetful() -> Limits {
    Limits::new().resume_sessions(0).connected(Duration::from_millis(200))
}

/// The pause before the next attempt. It is longer than any test.
const PAUSE: Duration = Duration::from_secs(3600);

/// A function that returns the outcome of the `connected` hook for the session with this number.
/// The first session has the number 0.
type Outcome = fn(u32) -> Result<(), Refusal>;

/// Starts a server that listens to "ping". For each session, its `connected` hook has the given
/// outcome.
async fn server(outcome: Outcome) -> Server {
    let sessions = AtomicU32::new(0);
    let connected = move |socket: Socket| {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        async move {
            socket.listen("ping", |(): ()| async { 7_u32 });
            outcome(number)
        }
    };
    Server::builder().limits(forgetful()).connected(connected).bind("tcp://127.0.0.1:0").await.unwrap()
}

every_transport! {
    async fn first_connect_returns_the_refusal(net: Transport) {
        let banned = || Refusal::new("closed");
        let busy = || Refusal::retry("busy").after(Duration::from_millis(1500));
        for refusal in [banned, busy] as [fn() -> Refusal; 2] {
            let server = net.serve(Server::builder().authenticate(move |(): ()| async move {
                Err::<(), _>(refusal())
            })).await;
            let refused = net.try_connect(&server, Client::builder()).await.unwrap_err();
            assert!(matches!(&refused, ConnectError::Refused(known) if *known == refusal()), "{refused:?}");

            let server = net.serve(Server::builder().connected(move |_| async move { Err(refusal()) })).await;
            let refused = net.try_connect(&server, Client::builder()).await.unwrap_err();
            assert!(matches!(&refused, ConnectError::Refused(known) if *known == refusal()), "{refused:?}");
        }
    }

    async fn socket_disconnected_by_its_hook_is_never_connected(net: Transport) {
        let server = net.serve(Server::builder().connected(|socket: Socket| async move {
            socket.disconnect("not today");
        })).await;
        for _ in 0..20 {
            let refused = net.try_connect(&server, Client::builder()).await.unwrap_err();
            let message = match &refused {
                ConnectError::Disconnected(reason) => reason.message(),
                other => panic!("{other:?}"),
            };
            assert_eq!(message, Some("not today"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_refusal_ends_a_client_that_reconnects() {
    let logins = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&logins);
    let server = Server::builder().authenticate(move |(): ()| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Ok(()) } else { Err(Refusal::new("your account is closed")) } }
    });
    let server = server.limits(forgetful()).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    eventually("the client has no connection", || client.is_away()).await;
    let (called, ()) =
        within(async { tokio::join!(client.request::<u32>("ping", &()), async { link.restore() }) }).await;
    assert!(matches!(called, Err(CallError::Disconnected { maybe_executed: false, .. })), "{called:?}");
    let reason = within(client.disconnected()).await;
    assert_eq!(reason, DisconnectReason::Refused(Refusal::new("your account is closed")));
    assert_eq!(reason.message(), Some("your account is closed"));
    assert_eq!(logins.load(Ordering::Relaxed), 2, "the client does not try again");
}

/// Limits under which the server keeps a detached session for longer than any test takes.
fn patient() -> Limits {
    Limits::new().resume_within(Duration::from_secs(3600))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_refusal_ends_the_session_on_the_server() {
    let (counted, detached) = (AtomicU32::new(0), Arc::new(Notify::new()));
    let is_detached = Arc::clone(&detached);
    let server = Server::builder().authenticate(move |(): ()| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        let is_detached = Arc::clone(&is_detached);
        async move {
            if first {
                return Ok(());
            }
            is_detached.notified().await;
            Err(Refusal::new("your account is closed"))
        }
    });
    let server = server.limits(patient()).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let socket = server.sockets().remove(0);
    link.cut();
    link.restore();
    eventually("the server has noticed the loss", || socket.is_away()).await;
    detached.notify_one();
    let refused = DisconnectReason::Refused(Refusal::new("your account is closed"));
    assert_eq!(within(client.disconnected()).await, refused);
    assert_eq!(within(socket.disconnected()).await, refused);
    eventually("the socket is removed", || server.sockets().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_with_a_retry_keeps_the_session_on_the_server() {
    let logins = AtomicU32::new(0);
    let server = Server::builder().authenticate(move |(): ()| {
        let number = logins.fetch_add(1, Ordering::Relaxed);
        async move { if number == 1 { Err(Refusal::retry("busy")) } else { Ok(()) } }
    });
    let server = server.limits(patient()).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let socket = server.sockets().remove(0);
    link.cut();
    link.restore();
    eventually("the client has no connection", || socket.is_away()).await;
    eventually("the session is resumed", || !socket.is_away()).await;
    assert_eq!(server.sockets(), [socket]);
    assert!(client.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_refusal_by_a_hook_ends_a_client_that_reconnects() {
    let server = server(|number| if number == 0 { Ok(()) } else { Err(Refusal::new("closed")) }).await;
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    link.restore();
    let reason = within(client.disconnected()).await;
    assert_eq!(reason, DisconnectReason::Refused(Refusal::new("closed")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_with_a_delay_is_followed_by_an_attempt_after_it() {
    const WAIT: Duration = Duration::from_millis(400);
    let (refused, admitted) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (refusing, admitting) = (Arc::clone(&refused), Arc::clone(&admitted));
    let logins = AtomicU32::new(0);
    let server = Server::builder().authenticate(move |(): ()| {
        let number = logins.fetch_add(1, Ordering::Relaxed);
        if number == 1 {
            refusing.notify_one();
        } else {
            admitting.notify_one();
        }
        async move { if number == 1 { Err(Refusal::retry("busy").after(WAIT)) } else { Ok(()) } }
    });
    let server = server.build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    within(admitted.notified()).await;
    link.cut();
    link.restore();
    within(refused.notified()).await;
    let since = Instant::now();
    within(admitted.notified()).await;
    assert!(since.elapsed() >= WAIT.mul_f32(0.95), "{:?}", since.elapsed());
    eventually("the session is resumed", || session_of(&client) == Some(1)).await;
}

/// Refuses session 1, panics for session 2, and accepts all other sessions.
fn fails_a_while(number: u32) -> Result<(), Refusal> {
    match number {
        1 => Err(Refusal::retry("busy")),
        2 => panic!("the database does not answer"),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_that_fails_for_a_while_ends_no_client_and_no_call() {
    let server = server(fails_a_while).await;
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    eventually("the client has no connection", || client.is_away()).await;
    let (called, ()) =
        within(async { tokio::join!(client.request::<u32>("ping", &()), async { link.restore() }) }).await;
    assert_eq!(called, Ok(7), "the call waits for the session that becomes ready");
    assert_eq!(session_of(&client), Some(2), "only sessions that became ready are counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reason_of_the_loss_is_kept_when_a_hook_refuses_the_client() {
    let busy = |number| if number == 0 { Ok(()) } else { Err(Refusal::retry("busy").after(PAUSE)) };
    let server = server(busy).await;
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    link.restore();
    let state = || match client.state() {
        ClientState::Reconnecting { attempt, reason: Some(reason), error: Some(error), .. } => {
            Some((attempt, reason, error))
        }
        _ => None,
    };
    eventually("the first attempt has failed", || state().is_some()).await;
    let (attempt, reason, error) = state().unwrap();
    assert_eq!(attempt, 2);
    assert!(matches!(reason, DisconnectReason::Lost(_)), "{reason:?}");
    assert_eq!(*error, ConnectError::Refused(Refusal::retry("busy").after(PAUSE)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reason_of_the_loss_is_renewed_when_a_session_is_ready() {
    let server = server(fails_a_while).await;
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    link.restore();
    eventually("the second session is ready", || session_of(&client) == Some(2)).await;
    within(server.shutdown()).await;
    let is_renewed =
        || matches!(client.state(), ClientState::Reconnecting { reason: Some(reason), .. } if is_restart(&reason));
    eventually("the client waits for the restart", is_renewed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_that_exceeds_its_time_limit_is_a_retry() {
    let sessions = AtomicU32::new(0);
    let connected = move |_: Socket| {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 1 {
                pending::<()>().await;
            }
        }
    };
    let server = Server::builder().limits(forgetful()).connected(connected).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    link.restore();
    eventually("the client has another session", || session_of(&client) == Some(2)).await;
}
