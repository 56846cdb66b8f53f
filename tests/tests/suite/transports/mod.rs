//! Transports and their particular behaviour.

mod addresses;
mod compression;
mod streams;
mod tls;
#[cfg(unix)]
mod unix;
mod websocket;
