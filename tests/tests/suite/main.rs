//! The integration tests, by behaviour.
//!
//! Tests in `every_transport!` run over each transport, because the tested behaviour depends on the
//! transport. For example, it depends on the transport's buffers, on its end, or on its facts about
//! the peer. Tests in `tcp_and_memory!` run over only two transports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audiences;
mod calls;
mod connection;
mod faulty_networks;
#[allow(unreachable_pub, reason = "the lints of public items apply to generated code")]
pub mod groups;
mod keep_alive;
mod lifetime;
mod limits;
mod links;
mod middleware;
mod programs;
mod races;
mod rate_limit;
mod resumption;
mod runtimes;
mod slow_peers;
mod tower_layers;
mod transports;
mod wire;
