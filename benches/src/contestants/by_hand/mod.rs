//! The same by hand, over tokio's TCP: three contestants from a few parts.

mod asks;
mod batches;
mod connection;
mod frame;
mod incoming;
mod multiplexed;
mod outgoing;
mod queue;
mod shards;
mod the_loop;

pub use multiplexed::Multiplexed;
pub use queue::Queue;
pub use the_loop::Loop;
