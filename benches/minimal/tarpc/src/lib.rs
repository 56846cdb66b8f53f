//! The contract of the client and the server.

/// A service that adds numbers.
#[tarpc::service]
pub trait Sums {
    /// Returns the sum of two numbers.
    async fn add(a: u32, b: u32) -> u32;
}
