//! The contracts between the server and the clients.

use serde::{Deserialize, Serialize};

/// The reply of the larger method. It consists of plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of items.
    pub count: u32,
    /// The price.
    pub price: u64,
    /// The time of the purchase in seconds.
    pub time: u64,
}

/// The error of a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoldOut {
    /// The item does not exist.
    Never,
    /// The number of items that are left.
    Left(u32),
}

/// The server serves this group with a single handler for all sockets.
#[sockets::group("Shop")]
pub trait Shop {
    /// The smaller of two alternating methods.
    async fn price(&self, item: &str) -> Option<u32>;
    /// An emit.
    #[emit]
    async fn viewed(&self, item: &str);
}

/// The server serves this group with a separate handler for each socket.
#[sockets::group("Shop/Till")]
pub trait Till {
    /// The larger of two alternating methods.
    async fn buy(&self, item: &str, count: u32, code: [u32; 4]) -> Result<Receipt, SoldOut>;
}

/// The commands of a client. The server serves this group.
#[sockets::group("Control")]
pub trait Control {
    /// Adds the caller to the room.
    async fn join(&self, call: &sockets::Call);
    /// Sends this number of messages to the room.
    async fn broadcast(&self, call: &sockets::Call, messages: u32);
    /// Ends the server.
    #[emit]
    async fn stop(&self);
}

/// The messages to a room. The members of the room serve this group.
#[sockets::group("Room")]
pub trait Room {
    /// Receives a message.
    #[emit]
    async fn message(&self, text: &str);
}
