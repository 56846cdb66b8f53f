//! Frames that are encoded once and sent to all members of an audience.

use std::time::Duration;

use bytes::Bytes;

use super::{
    frame::{CallId, Frame},
    send_buffer::whole_frame,
    timeout,
};
use crate::codec::Payload;

/// An encoded request to an audience. All members receive the same bytes.
#[derive(Clone, Debug)]
pub struct SharedRequest {
    pub(super) id: CallId,
    pub(super) timeout: Duration,
    pub(super) frame: Bytes,
    /// The length of the arguments in bytes.
    pub(super) payload: usize,
}

/// Encodes a request to an audience. The caller must pass a `number` that the server has not used
/// before.
pub fn shared_request(number: u64, key: u64, timeout: Duration, payload: &Payload<'_>) -> SharedRequest {
    let id = CallId { number, shared: true };
    let timeout = timeout::clamp(timeout);
    let header = Frame::Request { id, timeout: timeout::to_wire(timeout), key }.header();
    SharedRequest { id, timeout, frame: whole_frame(header, payload), payload: payload.len() }
}

impl SharedRequest {
    /// Returns the id of the request, which is the same for all members.
    pub fn id(&self) -> CallId {
        self.id
    }
}

/// Encodes an emit to an audience.
pub fn shared_emit(key: u64, payload: &Payload<'_>) -> Bytes {
    whole_frame(Frame::Emit { key }.header(), payload)
}
