//! A client makes calls while it has no connection.

use std::{
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use sockets::{CallError, Client, ClientState, Limits, Server, test_util::Link};
use sockets_tests::{eventually, reconnecting, session_of, within};

#[sockets::group("Notes")]
trait Notes {
    async fn ask(&self, number: u32);
    #[emit]
    async fn tell(&self, number: u32);
}

/// Records the numbers that it receives.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<u32>>>);

impl Notes for Noting {
    async fn ask(&self, number: u32) {
        self.0.lock().unwrap().push(number);
    }

    async fn tell(&self, number: u32) {
        self.0.lock().unwrap().push(number);
    }
}

/// Connects a client, and cuts its connection. The server keeps the session for `resume_within`.
async fn away(noting: &Noting, resume_within: Duration) -> (Server, Link, Client) {
    let server = Server::builder()
        .serve(NotesServer::new(noting.clone()))
        .limits(Limits::new().resume_within(resume_within))
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    link.cut();
    eventually("the client has no connection", || matches!(client.state(), ClientState::Reconnecting { .. })).await;
    assert!(client.is_away() && client.is_connected());
    (server, link, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_ended_while_detached_is_never_sent() {
    let noting = Noting::default();
    let (server, link, client) = away(&noting, Duration::from_secs(30)).await;
    let socket = server.sockets().remove(0);
    eventually("the server has noticed the loss", || socket.is_away()).await;
    let notes = NotesClient::new(&client);
    let impatient = notes.clone().with_timeout(Duration::from_millis(20));
    assert_eq!(within(impatient.ask(1)).await, Err(CallError::Timeout));
    let dropped = tokio::time::timeout(Duration::from_millis(20), notes.ask(2)).await;
    assert!(dropped.is_err(), "{dropped:?}");
    let (asked, ()) = tokio::join!(notes.ask(3), async { link.restore() });
    assert_eq!(asked, Ok(()));
    assert_eq!(*noting.0.lock().unwrap(), [3]);
    assert!(socket.is_connected() && !socket.is_away() && !client.is_away());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_made_while_offline_reach_a_new_session_in_order() {
    let noting = Noting::default();
    let (server, link, client) = away(&noting, Duration::ZERO).await;
    eventually("the session has ended", || server.sockets().is_empty()).await;
    let notes = NotesClient::new(&client);
    let mut asked = Vec::new();
    for number in 0..100 {
        if number % 3 == 0 {
            notes.tell(number).await.unwrap();
            continue;
        }
        let notes = notes.clone();
        let mut asking = Box::pin(async move { notes.ask(number).await });
        let polled = std::future::poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        asked.push(asking);
    }
    link.cut();
    link.restore();
    for asking in asked {
        assert_eq!(within(asking).await, Ok(()));
    }
    assert_eq!(*noting.0.lock().unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(session_of(&client), Some(2));
}
