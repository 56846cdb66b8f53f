//! What the two sides say to each other.

use serde::{Deserialize, Serialize};

/// The answer of the larger method: plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// How many were bought.
    pub count: u32,
    /// What they cost.
    pub price: u64,
    /// When, in seconds.
    pub time: u64,
}

/// Why nothing is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoldOut {
    /// There were none to begin with.
    Never,
    /// There are too few.
    Left(u32),
}

/// Served by the server, one handler for all sockets.
#[sockets::group("Shop")]
pub trait Shop {
    /// The smaller of the two methods that are called in turn.
    async fn price(&self, item: &str) -> Option<u32>;
    /// Nobody waits for it.
    #[emit]
    async fn viewed(&self, item: &str);
}

/// Served by the server, to each socket by a handler of its own.
#[sockets::group("Shop/Till")]
pub trait Till {
    /// The larger of the two methods that are called in turn.
    async fn buy(&self, item: &str, count: u32, code: [u32; 4]) -> Result<Receipt, SoldOut>;
}

/// Served by the server: what it does at a client's word.
#[sockets::group("Control")]
pub trait Control {
    /// Puts the caller into the room.
    async fn join(&self, call: &sockets::Call);
    /// Says something so often to the room.
    async fn say(&self, call: &sockets::Call, messages: u32);
    /// Ends the server.
    #[emit]
    async fn stop(&self);
}

/// Served by the members of the room.
#[sockets::group("Room")]
pub trait Room {
    /// Something was said.
    #[emit]
    async fn message(&self, text: &str);
}
