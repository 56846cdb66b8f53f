//! The wire protocol of `sockets` as a state machine without I/O, tasks or clock.
//!
//! [`SessionCore`] holds the state of one session. A driver passes received frames and the current time to it, and takes
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
    calls::CallResult,
    capacity::ReleaseUnused,
    core::{CallOrigin, Response, Role, SendOutcome, SessionCore, VolatileEmit},
    event::{Event, HandlerId, IncomingCall, WindowPermit},
    frame::{CallId, CloseReason, FailureCode, Frame, PREFIX, frame_length, frame_with_prefix, next_frame},
    liveness::{KeepAlive, KeepAliveConfig},
    outbox::SendBuffer,
    overflow::WhenFull,
    parked::PARKED_OVERHEAD,
    shared::{SharedRequest, shared_emit, shared_request},
    terms::Settings,
    timeout::clamp as clamp_timeout,
    token::{Token, Tokens},
    violation::ProtocolError,
    window::WindowSize,
};
