//! Frames that all members of an audience receive.

use std::time::Duration;

use bytes::Bytes;

use super::{
    frame::{CallId, Frame},
    send_buffer::whole_frame,
    timeout,
};
use crate::codec::Payload;

/// A request to an audience, encoded once.
#[derive(Clone, Debug)]
pub struct SharedRequest {
    pub(super) id: CallId,
    pub(super) timeout: Duration,
    pub(super) frame: Bytes,
    /// The length of the arguments in bytes.
    pub(super) payload: usize,
}

/// Encodes a request to an audience. `number` must be a number that the server has not used.
pub fn shared_request(number: u64, key: u64, timeout: Duration, payload: &Payload<'_>) -> SharedRequest {
    let id = CallId { number, shared: true };
    let timeout = timeout::clamp(timeout);
    let header = Frame::Request { id, timeout: timeout::to_wire(timeout), key }.header();
    SharedRequest { id, timeout, frame: whole_frame(header, payload), payload: payload.len() }
}

impl SharedRequest {
    /// Returns the id, which all members share.
    pub fn id(&self) -> CallId {
        self.id
    }
}

/// Encodes an emit to an audience.
pub fn shared_emit(key: u64, payload: &Payload<'_>) -> Bytes {
    whole_frame(Frame::Emit { key }.header(), payload)
}
