//! The end of sessions, servers and clients.

mod cleanup;
mod disconnects;
mod ends;
mod handles;
mod shutdown;
