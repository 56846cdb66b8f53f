//! The contracts between the auction house and its clients.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub enum AuctionError {
    NotForSale,
    TooLow(u32),
}

impl fmt::Display for AuctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotForSale => f.write_str("the lot is not for sale"),
            Self::TooLow(price) => write!(f, "the bid must exceed {price}"),
        }
    }
}

/// The server serves this group to all clients.
#[sockets::group("Auction")]
pub trait Auction {
    /// Sends the price of a lot to the caller, from now on until the session ends.
    async fn watch(&self, lot: &str) -> Result<(), String>;
    async fn bid(&self, lot: &str, price: u32) -> Result<(), AuctionError>;
}

/// The server serves this group, and its layer admits only auctioneers.
#[sockets::group("Admin/Auction")]
pub trait Admin {
    /// Sells a lot to the leading bidder, and returns the bidder. A sale that has begun is
    /// completed, even if the auctioneer loses the session.
    #[request(detached)]
    async fn sell(&self, lot: &str) -> Result<Option<String>, AuctionError>;
    /// Disconnects all devices of a user.
    async fn expel(&self, name: &str, reason: &str);
}

/// The clients serve this group.
#[sockets::group("Bidder")]
pub trait Bidder {
    /// The server sends the price 30 times a second. Of each lot, a slow client receives only the
    /// newest price.
    #[emit(latest, key = "lot")]
    async fn price(&self, lot: &str, price: u32, leader: Option<&str>);
    #[emit]
    async fn sold(&self, lot: &str);
    /// Notifies all devices of the buyer.
    #[emit]
    async fn won(&self, lot: &str, price: u32);
}
