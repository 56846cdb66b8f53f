//! Shared parts of the integration tests: contracts and their handlers, transports, relays and raw
//! peers.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::missing_errors_doc, reason = "the errors are those of the wrapped function")]

mod certificates;
mod contract;
mod first_session;
mod handlers;
mod path;
pub mod raw;
pub mod raw_websocket;
mod relay;
pub mod soak;
mod transport;
mod values;
mod wait;

pub use self::{
    certificates::{Authority, Certificate, LOOPBACK},
    contract::*,
    first_session::FirstSession,
    handlers::{Desk, Shop, Voter, admitting, players},
    path::unique_path,
    relay::{Conditions, Relay},
    transport::{
        Messages, Transport, for_good, is_restart, messages, once, reconnecting, run, run_on_one_thread, session_of,
        unix_url,
    },
    values::{Fragile, FragileIdentity, PanicsOnDrop, Seen},
    wait::{PATIENCE, eventually, never, poll_once, within, within_time},
};
