//! The payload types of all subjects.

use serde::{Deserialize, Serialize};

/// The payload of calls and emits. It is a small struct, as in a typical program.
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

/// The payload of a message to a room, usually 128 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// The time at which the message was sent, from [`now`].
    pub sent: u64,
    pub text: String,
}

impl News {
    /// Creates a message that postcard encodes in `size` bytes. The time takes 9 of these bytes,
    /// and the length of the text takes 1.
    pub fn new(size: usize) -> Self {
        Self { sent: now(), text: "n".repeat(size.saturating_sub(10)) }
    }
}

/// Returns the time of the system clock in nanoseconds. Both processes share this clock.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
