//! Requests and emits between two peers.

mod cancellation;
mod context;
mod deadlines;
mod errors;
mod order;
mod outcomes;
mod signatures;
