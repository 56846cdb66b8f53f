//! A customer: a client of the shop.

use sockets::{Client, ConnectError, DisconnectReason};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::contract::{Lobby, LobbyServer, Login, PurchasesClient, RefundsClient};

/// A call that the shop makes to a customer.
pub enum ShopCall {
    Price { item: String, price: u32 },
    Vote { choices: Vec<String>, answer: oneshot::Sender<String> },
}

/// A customer with a connection to the shop.
pub struct Customer {
    client: Client,
    calls: UnboundedReceiver<ShopCall>,
}

impl Customer {
    pub async fn enter(url: &str, name: &str) -> Result<Self, ConnectError> {
        let (sender, calls) = unbounded_channel();
        let client = Client::builder()
            .auth(Login { name: name.to_owned() })
            .serve(LobbyServer::new(LobbyHandler(sender)))
            .connect(url)
            .await?;
        Ok(Self { client, calls })
    }

    pub fn purchases(&self) -> PurchasesClient {
        PurchasesClient::new(&self.client)
    }

    pub fn refunds(&self) -> RefundsClient {
        RefundsClient::new(&self.client)
    }

    /// Returns the next call from the shop, or `None` if the session has ended.
    pub async fn next_call(&mut self) -> Option<ShopCall> {
        self.calls.recv().await
    }

    /// Returns `true` if no call from the shop is waiting.
    pub fn has_no_call(&self) -> bool {
        self.calls.is_empty()
    }

    /// Waits until the session has ended.
    pub async fn until_disconnected(self) -> DisconnectReason {
        self.client.disconnected().await
    }
}

/// The handler of `Lobby`. It forwards calls to the customer.
struct LobbyHandler(UnboundedSender<ShopCall>);

impl Lobby for LobbyHandler {
    async fn price_changed(&self, item: &str, price: u32) {
        // If the customer leaves, the receiver may already be dropped.
        let _ = self.0.send(ShopCall::Price { item: item.to_owned(), price });
    }

    async fn vote(&self, choices: Vec<String>) -> String {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(ShopCall::Vote { choices, answer });
        match answered.await {
            Ok(choice) => choice,
            // If the customer does not answer the question, this handler has no result to reply. So
            // it waits until the library stops it at the deadline of the shop's request.
            Err(_) => std::future::pending().await,
        }
    }
}
