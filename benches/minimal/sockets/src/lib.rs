//! The contract of the client and the server.

/// A service that adds numbers.
#[sockets::group("Sums")]
pub trait Sums {
    /// Returns the sum of two numbers.
    async fn add(&self, a: u32, b: u32) -> u32;
}
