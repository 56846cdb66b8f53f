//! A message to an audience.

use bytes::Bytes;

use crate::method::Callee;
use sockets_proto::Overflow;

/// A message without its members, so that a copy keeps no member alive.
#[derive(Clone)]
pub(crate) struct Message {
    pub(super) number: u64,
    frame: Bytes,
    key: u64,
    overflow: Overflow,
    /// Key and signature, if the emitter knows the types of the method.
    method: Option<(u64, u64)>,
}

impl Message {
    pub(super) fn new(number: u64, frame: Bytes, callee: Callee<'_>) -> Self {
        Self { number, frame, key: callee.key(), overflow: callee.overflow(), method: callee.signed() }
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    pub(crate) fn is_volatile(&self) -> bool {
        self.overflow == Overflow::Volatile
    }

    pub(crate) fn method(&self) -> Option<(u64, u64)> {
        self.method
    }
}
