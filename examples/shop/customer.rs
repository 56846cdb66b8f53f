//! A customer: a client of the shop.

use sockets::{Client, ConnectError, DisconnectReason};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::contract::{Lobby, LobbyServer, Login, PurchasesClient, RefundsClient};

/// A call from the shop to a customer.
pub enum Heard {
    Price { item: String, price: u32 },
    Vote { choices: Vec<String>, answer: oneshot::Sender<String> },
}

/// A customer with a connection to the shop.
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

    /// Returns the next call from the shop, or `None` if the session has ended.
    pub async fn hears(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Returns `true` if no call from the shop is waiting.
    pub fn has_heard_nothing(&self) -> bool {
        self.heard.is_empty()
    }

    /// Waits until the session has ended.
    pub async fn until_sent_away(self) -> DisconnectReason {
        self.client.disconnected().await
    }
}

/// The handler of `Lobby`, which forwards calls to the customer.
struct Ears(UnboundedSender<Heard>);

impl Lobby for Ears {
    async fn price_changed(&self, item: &str, price: u32) {
        // The receiver may be dropped already, if the customer leaves.
        let _ = self.0.send(Heard::Price { item: item.to_owned(), price });
    }

    async fn vote(&self, choices: Vec<String>) -> String {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Heard::Vote { choices, answer });
        match answered.await {
            Ok(choice) => choice,
            // A customer that drops the request never replies. The shop's deadline stops this handler.
            Err(_) => std::future::pending().await,
        }
    }
}
