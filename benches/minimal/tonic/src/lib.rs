//! The contract.

tonic::include_proto!("minimal.Sums");

/// What is added.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Terms {
    /// One.
    #[prost(uint32, tag = "1")]
    pub a: u32,
    /// The other.
    #[prost(uint32, tag = "2")]
    pub b: u32,
}

/// The result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sum {
    /// The sum.
    #[prost(uint32, tag = "1")]
    pub sum: u32,
}
