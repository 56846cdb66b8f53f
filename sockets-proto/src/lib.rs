//! The wire protocol of `sockets` as a state machine without I/O, tasks or clock.
//!
//! [`SessionCore`] holds the state of a session. A driver passes received frames and the current
//! time to the core. The core returns [`Event`]s, and the bytes that the driver has to send.
//! `PROTOCOL.md` in the repository describes the wire format.
//!
//! Most programs need the crate `sockets`, which drives this state machine with tokio.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announcement;
mod calls;
mod capacity;
pub mod codec;
mod error;
mod event;
mod evictable;
mod frame;
pub mod handshake;
mod keep_alive;
mod latest;
pub mod name;
mod overflow;
mod pending;
mod retransmit;
mod retransmit_buffer;
mod send_buffer;
mod session_core;
mod settings;
mod shared_frame;
#[cfg(test)]
mod tests;
mod timeout;
mod token;
mod turn_results;
mod window;

pub use self::overflow::Overflow;
pub use self::{
    announcement::{Announcement, announced},
    calls::CallResult,
    capacity::ReleaseUnused,
    error::ProtocolError,
    event::{Event, HandlerId, IncomingCall, WindowPermit},
    frame::{CallId, CloseReason, FailureCode, Frame, PREFIX, frame_length, frame_with_prefix, next_frame},
    keep_alive::{KeepAlive, KeepAliveConfig},
    latest::{LatestEmit, LatestKey},
    overflow::WhenFull,
    pending::PENDING_OVERHEAD,
    send_buffer::SendBuffer,
    session_core::{CallOrigin, Response, Role, SendOutcome, SessionCore, VolatileEmit},
    settings::Settings,
    shared_frame::{SharedRequest, shared_emit, shared_request},
    timeout::clamp as clamp_timeout,
    token::{Token, Tokens},
    turn_results::{ReplyError, TurnResults},
    window::WindowSize,
};
