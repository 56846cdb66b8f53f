//! Counts the cost of calls instead of measuring time, so that noise of the machine does not hide a
//! regression.
//!
//! A server and a client run on separate threads or in separate processes, on single-threaded
//! runtimes.

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
/// Panics if the system cannot create it.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}
