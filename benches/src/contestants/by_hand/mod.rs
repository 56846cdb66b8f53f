//! The same by hand, over tokio's TCP.

mod batch;
mod connection;
mod frame;

pub use batch::Loop;
