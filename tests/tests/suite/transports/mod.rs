//! Transports and the behaviour that is particular to each.

mod addresses;
mod compression;
mod streams;
mod tls;
#[cfg(unix)]
mod unix;
mod websocket;
