//! The server of these tests, and a second client, which a bad peer must not affect.

use std::future;

use serde::{Deserialize, Serialize};
use sockets::{Client, Limits, Refusal, Server};
use tokio::time::timeout;

use sockets_tests::PATIENCE;

/// A recursive type. Its elements have the same type.
#[derive(Serialize, Deserialize)]
pub(crate) struct Nest(pub(crate) Vec<Nest>);

#[sockets::group("Bad")]
pub(crate) trait Bad {
    async fn echo(&self, text: &str) -> String;
    async fn wait(&self);
    async fn nest(&self, nest: Nest) -> u32;
    async fn sum(&self, numbers: Vec<u32>) -> u32;
    #[emit]
    async fn note(&self, number: u32);
}

pub(crate) struct Handler;

impl Bad for Handler {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn wait(&self) {
        future::pending::<()>().await;
    }

    async fn nest(&self, nest: Nest) -> u32 {
        u32::try_from(nest.0.len()).unwrap()
    }

    async fn sum(&self, numbers: Vec<u32>) -> u32 {
        numbers.iter().sum()
    }

    async fn note(&self, _number: u32) {}
}

pub(crate) async fn server_with(limits: Limits) -> Server<String> {
    Server::builder()
        .authenticate(|login: String| async move {
            if login == "mallory" { Err(Refusal::new("not you")) } else { Ok(login) }
        })
        .serve(BadServer::new(Handler))
        .limits(limits)
        .compress_from(100_000)
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap()
}

/// A client that uses the library and follows the protocol.
pub(crate) struct Healthy {
    client: Client,
}

impl Healthy {
    pub(crate) async fn connect(server: &Server<String>) -> Self {
        let url = format!("tcp://{}", server.local_addr());
        Self { client: Client::builder().auth("eve").connect(&url).await.unwrap() }
    }

    /// Asserts that the server still serves this client.
    pub(crate) async fn check(&self) {
        let echo = timeout(PATIENCE, BadClient::new(&self.client).echo("well")).await;
        assert_eq!(echo.expect("the server answers others"), Ok("well".to_owned()));
    }
}

pub(crate) async fn server_and_healthy() -> (Server<String>, Healthy) {
    let server = server_with(Limits::default()).await;
    let healthy = Healthy::connect(&server).await;
    (server, healthy)
}
