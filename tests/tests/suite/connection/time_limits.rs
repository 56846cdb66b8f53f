//! The time limits of authentication, of the `connected` hook, and of a client's login.

use std::{future::pending, time::Duration};

use sockets::{AcceptError, Client, ConnectError, Limits, Refusal, Server, Socket};
use sockets_tests::{PanicsOnDrop, every_transport, tcp_and_memory, *};
use tokio::{
    io::{AsyncReadExt, duplex},
    time::Instant,
};

use super::is_retry;

fn brief() -> Limits {
    let limit = Duration::from_millis(200);
    Limits::new().authentication(limit).connected(limit)
}

/// Never completes, and panics when the future is dropped.
async fn never_and_panics_when_dropped() {
    let _held = PanicsOnDrop("a future");
    pending::<()>().await;
}

every_transport! {
    async fn server_that_is_never_ready_ends_connect_in_time(net: Transport) {
        let server = net.serve(Server::builder().connected(|_| pending::<()>())).await;
        let since = Instant::now();
        let failed = net.try_connect(&server, Client::builder().limits(brief())).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        net.wait_until_empty(&server).await;
    }
}

tcp_and_memory! {
    async fn authentication_that_panics_when_stopped_is_a_retry(net: Transport) {
        let server = Server::builder().limits(brief()).authenticate(|waits: bool| async move {
            if waits {
                never_and_panics_when_dropped().await;
            }
            Ok::<_, Refusal>(())
        });
        let server = net.serve(server).await;
        let failed = net.try_connect(&server, Client::builder().auth(true)).await.unwrap_err();
        assert!(matches!(&failed, ConnectError::Refused(refusal) if refusal.retry_after().is_some()), "{failed:?}");
        net.connect(&server, Client::builder().auth(false)).await;
    }

    async fn login_that_panics_when_stopped_ends_with_an_error(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let client = Client::builder().limits(brief()).auth_with(never_and_panics_when_dropped);
        let failed = net.try_connect(&server, client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Login(_)), "{failed:?}");
    }

    async fn login_that_never_completes_ends_connect_in_time(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let since = Instant::now();
        let client = Client::builder().limits(brief()).auth_with(pending::<()>);
        let failed = net.try_connect(&server, client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Login(_)), "{failed:?}");
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }

    async fn login_that_panics_ends_connect_with_an_error(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let client = Client::builder().auth_with(|| async { panic!("no login") as () });
        let failed = net.try_connect(&server, client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Login(_)), "{failed:?}");
    }

    async fn authentication_beyond_its_timeout_is_a_retry(net: Transport) {
        let limits = Limits::new().authentication(Duration::from_millis(50));
        let server = net.serve(Server::builder().limits(limits).authenticate(|(): ()| async {
            pending::<Result<(), Refusal>>().await
        })).await;
        let failed = within(net.try_connect(&server, Client::builder())).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Refused(refusal) if refusal.retry_after().is_some()));
    }

    async fn hook_beyond_its_timeout_is_a_retry(net: Transport) {
        let limits = Limits::new().connected(Duration::from_millis(100));
        let server = Server::builder().limits(limits).connected(|_: Socket| pending::<()>());
        let server = net.serve(server).await;
        let outcome = within(net.try_connect(&server, Client::builder())).await;
        assert!(is_retry(&outcome), "{outcome:?}");
        net.wait_until_empty(&server).await;
    }
}

#[tokio::test]
async fn silent_peer_is_disconnected() {
    let limits = Limits::new().authentication(Duration::from_millis(100));
    let server = Server::builder().limits(limits).build();
    let (mut silent, io) = duplex(1024);
    let accepted = within(server.accept(io)).await;
    assert!(matches!(accepted, Err(AcceptError::Handshake(_))), "{accepted:?}");
    let mut rest = Vec::new();
    within(silent.read_to_end(&mut rest)).await.unwrap();
}
