//! Hand-written subjects that use tokio's TCP directly.

mod batches;
mod broadcast_requests;
mod connection;
mod frame;
mod ideal;
mod incoming;
mod multiplexed;
mod outgoing;
mod queue;
mod shards;

pub use ideal::Ideal;
pub use multiplexed::Multiplexed;
pub use queue::Queue;
