//! Time limits of what a client awaits before it is connected.

use std::{future::pending, time::Duration};

use sockets::{Client, ConnectError, Limits, Server};
use sockets_tests::every_transport;
use tokio::time::Instant;

fn brief() -> Limits {
    let limit = Duration::from_millis(200);
    Limits { authentication: limit, connected: limit, ..Limits::default() }
}

every_transport! {
    async fn login_that_is_never_made_ends_connect_in_time(net: Net) {
        let server = net.serve(Server::builder()).await;
        let since = Instant::now();
        let client = Client::builder().limits(brief()).auth_with(pending::<()>);
        let failed = net.try_connect(&server, client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Login(_)), "{failed:?}");
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }

    async fn login_that_panics_ends_connect_with_an_error(net: Net) {
        let server = net.serve(Server::builder()).await;
        let client = Client::builder().auth_with(|| async { panic!("no login") as () });
        let failed = net.try_connect(&server, client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Login(_)), "{failed:?}");
    }

    async fn server_that_is_never_ready_ends_connect_in_time(net: Net) {
        let server = net.serve(Server::builder().connected(|_| pending::<()>())).await;
        let since = Instant::now();
        let failed = net.try_connect(&server, Client::builder().limits(brief())).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        net.deserted(&server).await;
    }
}
