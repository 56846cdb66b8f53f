//! Counts the cost of calls. Unlike a measurement of time, a count is not affected by the noise of
//! the machine, so that noise cannot hide a regression.
//!
//! A server and a client run on single-threaded runtimes. They run on separate threads, or in
//! separate processes.

mod bounds;
mod contract;
mod load;
mod per_peer;
mod scenario;
mod server;

pub use self::{
    bounds::{ALLOCATIONS, ALLOCATIONS_PER_MEMBER},
    contract::*,
    load::{Load, Loader},
    per_peer::PerPeer,
    scenario::Scenario,
    server::server,
};

/// Returns a single-threaded runtime.
///
/// # Panics
///
/// Panics if the system cannot create the runtime.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}
