//! The contract.

/// Adds.
#[sockets::group("Sums")]
pub trait Sums {
    /// The sum of two numbers.
    async fn add(&self, a: u32, b: u32) -> u32;
}
