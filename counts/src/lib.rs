//! What a call costs, counted and not timed, so that it can be held within bounds on a noisy machine.
//!
//! A server and its client, each on a thread or in a process of its own, on runtimes of one thread.

mod bounds;
mod contract;
mod load;
mod server;

pub use self::{
    bounds::{ALLOCATIONS, ALLOCATIONS_PER_MEMBER, BOUNDS, Bound, Sides},
    contract::*,
    load::{Load, Loader},
    server::server,
};

/// A runtime of one thread.
///
/// # Panics
///
/// If the system gives none.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
