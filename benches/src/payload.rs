//! What travels: the same types for every contestant.

use serde::{Deserialize, Serialize};

/// What calls and emits carry: the small struct of an everyday program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    pub item: String,
    pub count: u32,
    pub price: f64,
}

impl Order {
    pub fn new(id: u64) -> Self {
        Self { id, item: "broadsword".into(), count: 3, price: 12.5 }
    }
}

/// What a server tells a room, about 128 bytes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// When it was sent, by [`now`].
    pub sent: u64,
    pub text: String,
}

impl News {
    /// A message that postcard encodes in `size` bytes: 9 for the time, 1 for the length of the text.
    pub fn new(size: usize) -> Self {
        Self { sent: now(), text: "n".repeat(size.saturating_sub(10)) }
    }
}

/// Nanoseconds of a clock that the two processes share.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
