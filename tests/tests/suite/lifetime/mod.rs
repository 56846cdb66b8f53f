//! The end of sessions, servers and clients.

mod disconnects;
mod handles;
mod panicking_drops;
mod shutdown;
mod shutdown_in_handlers;
