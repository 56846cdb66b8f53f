//! A customer: the client's side.

use sockets::{Client, ConnectError, DisconnectReason};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::contract::{Lobby, LobbyServer, Login, PurchasesClient, RefundsClient};

/// What the shop tells or asks a customer.
pub enum Heard {
    Price { item: String, price: u32 },
    Vote { choices: Vec<String>, answer: oneshot::Sender<String> },
}

/// Somebody who is connected to the shop.
pub struct Customer {
    client: Client,
    heard: UnboundedReceiver<Heard>,
}

impl Customer {
    pub async fn enter(url: &str, name: &str) -> Result<Self, ConnectError> {
        let (ears, heard) = unbounded_channel();
        let client = Client::builder()
            .auth(Login { name: name.to_owned() })
            .serve(LobbyServer::new(Ears(ears)))
            .connect(url)
            .await?;
        Ok(Self { client, heard })
    }

    pub fn purchases(&self) -> PurchasesClient {
        PurchasesClient::new(&self.client)
    }

    pub fn refunds(&self) -> RefundsClient {
        RefundsClient::new(&self.client)
    }

    /// The next thing that the shop says; `None` when the connection has ended.
    pub async fn hears(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Whether there is nothing to hear.
    pub fn has_heard_nothing(&self) -> bool {
        self.heard.is_empty()
    }

    /// Waits for the end of the connection.
    pub async fn until_sent_away(self) -> DisconnectReason {
        self.client.disconnected().await
    }
}

/// Hands on what the shop says.
struct Ears(UnboundedSender<Heard>);

impl Lobby for Ears {
    async fn price_changed(&self, item: &str, price: u32) {
        // The customer may be about to leave.
        let _ = self.0.send(Heard::Price { item: item.to_owned(), price });
    }

    async fn vote(&self, choices: Vec<String>) -> String {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Heard::Vote { choices, answer });
        match answered.await {
            Ok(choice) => choice,
            // Who throws the question away never answers it; the shop's deadline ends this.
            Err(_) => std::future::pending().await,
        }
    }
}
