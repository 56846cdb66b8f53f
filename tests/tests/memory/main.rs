//! The memory that a server allocates for its peers, the release of this memory, and the allocations
//! of layers.
//!
//! These tests have a process of their own, since the global allocator of this process counts
//! allocations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod layers;
mod peaks;
mod release;
