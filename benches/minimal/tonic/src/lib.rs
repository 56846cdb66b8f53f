//! The contract of the client and the server.

tonic::include_proto!("minimal.Sums");

/// The two numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Terms {
    /// The first number.
    #[prost(uint32, tag = "1")]
    pub a: u32,
    /// The second number.
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
