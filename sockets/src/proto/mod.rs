//! The protocol of one session, without I/O and without a clock: frames and times go in, frames and events come out.
//!
//! [`Core`] is what a driver talks to; the other types are its parts. The wire is described in `PROTOCOL.md`.

mod announcement;
mod calls;
mod core;
mod event;
mod frame;
mod liveness;
mod outbox;
mod overflow;
mod parked;
mod recallable;
mod reliable;
mod retained;
mod shared;
mod terms;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod timeout;
mod violation;
mod window;

pub use self::overflow::Overflow;
pub(crate) use self::{
    announcement::{Announcement, announced},
    calls::Answer,
    core::{Admission, Caller, Core, Outcome, Side, Volatile},
    event::{Called, Event, Occupied, Open},
    frame::{CallId, FailureCode, Farewell, Frame, PREFIX},
    liveness::{Liveness, bears as bears_silence},
    outbox::Outbox,
    shared::{SharedRequest, shared_emit, shared_request},
    terms::Terms,
    timeout::clamp as clamp_timeout,
    violation::Violation,
};
