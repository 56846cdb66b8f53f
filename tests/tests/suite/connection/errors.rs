//! Errors of `connect`. Each error states a remedy.

use std::time::Duration;

use sockets::{Client, ClientBuilder, ConnectError, Limits, Refusal, Server};
use sockets_tests::{Transport, tcp_and_memory, within};
use tokio::time::Instant;

/// Fails to connect, and returns the text of the error.
async fn refused(net: Transport, server: &Server<impl sockets::Identity>, builder: ClientBuilder) -> String {
    let failed = within(net.try_connect(server, builder)).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Handshake(_)), "{failed:?}");
    failed.to_string()
}

fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

tcp_and_memory! {
    async fn client_without_a_login_is_referred_to_auth(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|name: String| async { Ok::<_, Refusal>(name) })).await;
        let text = refused(net, &server, Client::builder()).await;
        assert_names(&text, &["sent no login", "String", "`ClientBuilder::auth`"]);
    }

    async fn client_with_a_login_that_is_not_expected_is_referred_to_auth(net: Transport) {
        let server = net.serve(Server::builder().authenticate(|(): ()| async { Ok::<_, Refusal>(()) })).await;
        let text = refused(net, &server, Client::builder().auth("ada")).await;
        assert_names(&text, &["sent a login", "remove `ClientBuilder::auth`", "`ServerBuilder::authenticate`"]);
    }

    async fn login_over_the_limit_names_the_limit(net: Transport) {
        let limits = Limits::new().login_bytes(1000);
        let server = Server::builder().limits(limits).authenticate(|name: String| async { Ok::<_, Refusal>(name) });
        let text = refused(net, &net.serve(server).await, Client::builder().auth("x".repeat(2000))).await;
        assert_names(&text, &["1000", "`Limits::login_bytes`", "login"]);
    }
}

#[tokio::test]
async fn wrong_scheme_is_named_at_once() {
    let transports = [(Transport::Tcp, "tcp"), (Transport::Tls, "tls"), (Transport::Ws, "ws"), (Transport::Wss, "wss")];
    for (served, scheme) in transports {
        let server = served.serve(Server::builder().authenticate(|_: String| async { Ok::<_, Refusal>(()) })).await;
        for (used, wrong) in transports.into_iter().filter(|(used, _)| *used != served) {
            // The first byte of a client hello is its length. If that byte is an uppercase letter,
            // the server may take the hello for HTTP. So the test varies the length.
            for length in [0, 20, 2000] {
                let began = Instant::now();
                let client = Client::builder().auth("x".repeat(length));
                let failed = within(used.try_connect_at(server.local_addr(), client)).await.unwrap_err();
                let text = failed.to_string();
                assert!(matches!(failed, ConnectError::Handshake(_)), "{wrong} to {scheme}: {failed:?}");
                assert!(text.contains("scheme"), "{wrong} to {scheme}, {length}: {text}");
                assert!(began.elapsed() < Duration::from_secs(5), "{wrong} to {scheme}: {:?}", began.elapsed());
            }
        }
        within(served.try_connect_at(server.local_addr(), Client::builder().auth("ada"))).await.unwrap();
    }
}
