//! The contracts between the shop and its customers. Both peers compile this file.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// The login of a customer.
#[derive(Serialize, Deserialize)]
pub struct Login {
    pub name: String,
}

/// The receipt of a purchase.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub number: u32,
    pub item: String,
    pub count: u32,
    pub paid: u32,
}

/// The error of a purchase.
#[derive(Debug, Serialize, Deserialize)]
pub enum PurchaseError {
    NoSuchItem,
    OutOfStock { left: u32 },
}

/// The error of a refund.
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

/// The methods that the shop serves and customers call.
#[sockets::group("Purchases")]
pub trait Purchases {
    /// Returns the price of an item, or `None` if the shop does not have it.
    async fn get_price(&self, item: &str) -> Option<u32>;
    /// Buys an item. The customer receives the error unchanged.
    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError>;
    /// Subscribes the customer to price changes of an item.
    async fn watch(&self, item: &str) -> Result<(), PurchaseError>;
}

/// A subgroup of `Purchases`. The shop serves it with another handler.
#[sockets::group("Purchases/Refunds")]
pub trait Refunds {
    /// Takes the items of a receipt back. Returns the refunded amount.
    async fn refund(&self, receipt: &Receipt) -> Result<u32, RefundError>;
}

/// The methods that customers serve and the shop calls.
#[sockets::group("Lobby")]
pub trait Lobby {
    /// An emit: it has no reply.
    #[emit]
    async fn price_changed(&self, item: &str, price: u32);
    /// Returns the customer's choice.
    async fn vote(&self, choices: Vec<String>) -> String;
}
