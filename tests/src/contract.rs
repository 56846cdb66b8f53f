//! The contract of a shop and of a lobby.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client logs in with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The player's name.
    pub name: String,
}

impl Login {
    /// A login under this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Player {
    /// The player's name.
    pub name: String,
}

impl Player {
    /// The player of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

/// What a buyer gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What was bought.
    pub item: String,
    /// How many of it.
    pub count: u32,
}

/// Why a purchase or a refund failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurchaseError {
    /// There is no such thing.
    Unknown(String),
    /// There are too few.
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

/// Served by the server.
#[sockets::group("Purchases")]
pub trait Purchases {
    /// What an item costs.
    async fn get_price(&self, item: &str) -> Option<u32>;
    /// Buys it.
    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
    /// Somebody has looked at it.
    #[emit]
    async fn viewed(&self, item: &str);
}

/// A subgroup, served by the server.
#[sockets::group("Purchases/Refunds")]
pub trait Refunds {
    /// Takes it back.
    async fn refund(&self, receipt: Receipt) -> Result<(), PurchaseError>;
}

/// Served by the clients.
#[sockets::group("Lobby")]
pub trait Lobby {
    /// Which of these?
    async fn vote(&self, choices: Vec<String>) -> String;
    /// Something was said.
    #[emit]
    async fn message(&self, text: &str);
}
