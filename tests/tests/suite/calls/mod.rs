//! Requests and emits between two peers.

mod answers;
mod cancellation;
mod context;
mod deadlines;
mod detached;
mod errors;
mod order;
mod outcomes;
mod signatures;
mod timeouts;
mod window;
mod worker;
