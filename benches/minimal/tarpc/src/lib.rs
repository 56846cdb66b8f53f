//! The contract.

/// Adds.
#[tarpc::service]
pub trait Sums {
    /// The sum of two numbers.
    async fn add(a: u32, b: u32) -> u32;
}
