//! What the shop and its customers have agreed on. Both sides compile this file.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};
use sockets::Call;

/// How a customer logs in.
#[derive(Serialize, Deserialize)]
pub struct Login {
    pub name: String,
}

/// What was bought.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub number: u32,
    pub item: String,
    pub count: u32,
    pub paid: u32,
}

/// Why nothing was bought.
#[derive(Debug, Serialize, Deserialize)]
pub enum PurchaseError {
    NoSuchItem,
    OutOfStock { left: u32 },
}

/// Why no money was given back.
#[derive(Debug, Serialize, Deserialize)]
pub enum RefundError {
    UnknownReceipt,
}

impl fmt::Display for PurchaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchItem => f.write_str("the shop has no such thing"),
            Self::OutOfStock { left } => write!(f, "only {left} are left"),
        }
    }
}

impl fmt::Display for RefundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownReceipt => f.write_str("the shop knows no such receipt"),
        }
    }
}

impl Error for PurchaseError {}
impl Error for RefundError {}

/// Served by the shop, called by customers.
#[sockets::group("Purchases")]
pub trait Purchases {
    /// What one piece costs, if there is such an item.
    async fn get_price(&self, item: &str) -> Option<u32>;
    /// Buys. The error reaches the customer as it is.
    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
    /// From now on the customer hears of the item's prices. `call` says who calls; the customer does not pass it.
    async fn watch(&self, call: &Call, item: &str) -> Result<(), PurchaseError>;
}

/// A subgroup: also served by the shop, by another handler.
#[sockets::group("Purchases/Refunds")]
pub trait Refunds {
    /// Takes back what was bought, and gives back what was paid.
    async fn refund(&self, receipt: &Receipt) -> Result<u32, RefundError>;
}

/// Served by customers, called by the shop.
#[sockets::group("Lobby")]
pub trait Lobby {
    /// Nobody waits for this to be heard.
    #[emit]
    async fn price_changed(&self, item: &str, price: u32);
    /// The customer's choice.
    async fn vote(&self, choices: Vec<String>) -> String;
}
