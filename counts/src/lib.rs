//! What a call costs, counted and not timed, so that noise of the machine does not hide a regression.
//!
//! A server and its client, each on a thread or in a process of its own, on runtimes of one thread.

mod bounds;
mod contract;
mod load;
mod scenario;
mod server;
mod sides;

pub use self::{
    bounds::{ALLOCATIONS, ALLOCATIONS_PER_MEMBER},
    contract::*,
    load::{Load, Loader},
    scenario::Scenario,
    server::server,
    sides::Sides,
};

/// A runtime of one thread.
///
/// # Panics
///
/// If the system gives none.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
