//! The contracts of a shop and of a lobby.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The login of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The player's name.
    pub name: String,
}

impl Login {
    /// Creates a login with this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

/// The identity of a client.
#[derive(Clone, Debug, PartialEq, Eq, sockets::Identity)]
pub struct Player {
    /// The player's name.
    #[identity(key)]
    pub name: String,
}

impl Player {
    /// Creates a player with this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

/// The result of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The item that was bought.
    pub item: String,
    /// The number of items.
    pub count: u32,
}

/// The error of a purchase or a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurchaseError {
    /// The item does not exist.
    Unknown(String),
    /// There are too few items.
    SoldOut,
}

impl fmt::Display for PurchaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(item) => write!(f, "there is no {item}"),
            Self::SoldOut => f.write_str("sold out"),
        }
    }
}

impl std::error::Error for PurchaseError {}

/// The contract that the server serves.
#[sockets::group("Purchases")]
pub trait Purchases {
    /// Returns the price of an item.
    async fn get_price(&self, item: &str) -> Option<u32>;
    /// Buys an item.
    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
    /// Reports that an item was viewed.
    #[emit]
    async fn viewed(&self, item: &str);
}

/// A subgroup of the server's contract.
#[sockets::group("Purchases/Refunds")]
pub trait Refunds {
    /// Refunds a purchase.
    async fn refund(&self, receipt: Receipt) -> Result<(), PurchaseError>;
}

/// The contract that the clients serve.
#[sockets::group("Lobby")]
pub trait Lobby {
    /// Returns the client's choice.
    async fn vote(&self, choices: Vec<String>) -> String;
    /// Receives a message.
    #[emit]
    async fn message(&self, text: &str);
}
