//! The wire protocol of `sockets` as a state machine without I/O, tasks or clock.
//!
//! [`Core`] holds the state of one session. A driver passes received frames and the current time to it, and takes
//! [`Event`]s and bytes to send from it. `PROTOCOL.md` in the repository describes the wire format.
//!
//! Most programs need the crate `sockets`, which drives this state machine with tokio.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announcement;
mod calls;
mod capacity;
pub mod codec;
mod core;
mod event;
mod frame;
mod liveness;
pub mod name;
mod outbox;
mod overflow;
mod parked;
mod recallable;
mod reliable;
mod retained;
mod shared;
mod terms;
#[cfg(test)]
mod tests;
mod timeout;
mod token;
mod violation;
mod window;

pub use self::overflow::Overflow;
pub use self::{
    announcement::{Announcement, announced},
    calls::Answer,
    capacity::ReleaseUnused,
    core::{Admission, Caller, Core, Outcome, Side, Volatile},
    event::{Called, Event, Occupied, Open},
    frame::{CallId, CloseReason, FailureCode, Frame, PREFIX, frame_length, frame_with_prefix, next_frame},
    liveness::{KeepAliveConfig, Liveness},
    outbox::Outbox,
    overflow::WhenFull,
    parked::PARKED_OVERHEAD,
    shared::{SharedRequest, shared_emit, shared_request},
    terms::Terms,
    timeout::clamp as clamp_timeout,
    token::{Token, Tokens},
    violation::Violation,
    window::Grant,
};
