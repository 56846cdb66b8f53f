//! Handlers for the contracts, and a server that authenticates players.

use sockets::{Refusal, Server, ServerBuilder};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Lobby, Login, Player, PurchaseError, Purchases, Receipt, Refunds};

/// A shop that sells swords at a price of 10, and at most three swords in a purchase.
#[derive(Clone, Debug)]
pub struct Shop {
    viewed: UnboundedSender<String>,
}

impl Shop {
    /// Creates a shop. Also returns a receiver of the items that clients view.
    pub fn new() -> (Self, UnboundedReceiver<String>) {
        let (viewed, seen) = unbounded_channel();
        (Self { viewed }, seen)
    }

    /// Creates a shop that ignores viewed items.
    pub fn unwatched() -> Self {
        Self::new().0
    }
}

impl Purchases for Shop {
    async fn get_price(&self, item: &str) -> Option<u32> {
        (item == "sword").then_some(10)
    }

    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError> {
        match (item, count) {
            ("sword", ..=3) => Ok(Receipt { item: item.into(), count }),
            ("sword", _) => Err(PurchaseError::SoldOut),
            _ => Err(PurchaseError::Unknown(item.into())),
        }
    }

    async fn viewed(&self, item: &str) {
        drop(self.viewed.send(item.into()));
    }
}

/// A handler that accepts returned swords.
#[derive(Clone, Debug, Default)]
pub struct Desk;

impl Refunds for Desk {
    async fn refund(&self, receipt: Receipt) -> Result<(), PurchaseError> {
        if receipt.item == "sword" { Ok(()) } else { Err(PurchaseError::Unknown(receipt.item)) }
    }
}

/// A client in the lobby that always votes for the same choice.
#[derive(Clone, Debug)]
pub struct Voter {
    choice: String,
    messages: UnboundedSender<String>,
}

impl Voter {
    /// Creates a voter for this choice. Also returns a receiver of the messages that the voter
    /// receives.
    pub fn new(choice: &str) -> (Self, UnboundedReceiver<String>) {
        let (messages, received) = unbounded_channel();
        (Self { choice: choice.into(), messages }, received)
    }
}

impl Lobby for Voter {
    async fn vote(&self, choices: Vec<String>) -> String {
        if choices.contains(&self.choice) { self.choice.clone() } else { "none of these".into() }
    }

    async fn message(&self, text: &str) {
        drop(self.messages.send(text.into()));
    }
}

/// Admits each player that has a name, and refuses others.
pub async fn admitting(login: Login) -> Result<Player, Refusal> {
    if login.name.is_empty() { Err(Refusal::new("a player needs a name")) } else { Ok(Player { name: login.name }) }
}

/// Returns a server builder that uses players as identities.
pub fn players() -> ServerBuilder<Player> {
    Server::builder().authenticate(admitting)
}
