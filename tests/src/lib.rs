//! Shared parts of the tests: the contracts that they speak, handlers for them, and the transports that they run over.

#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![allow(clippy::missing_errors_doc, reason = "the errors are those of what is wrapped")]

mod certificates;
mod contract;
mod handlers;
mod net;
mod place;
mod relay;
pub mod soak;
mod wait;

pub use self::{
    certificates::{Authority, Certificate, LOOPBACK},
    contract::*,
    handlers::{Desk, Shop, Voter, admitting, players},
    net::{Messages, Net, messages, run, unix_url},
    place::path_of_its_own,
    relay::{Relay, Weather},
    wait::{eventually, never},
};
