//! What the two sides tell each other in the handshake.

use serde::{Deserialize, Serialize};

use super::window::Grant;
use crate::limits::Limits;

/// What a side accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// The longest frame, without its prefix.
    pub(crate) max_frame: u32,
    pub(crate) window: Grant,
}

impl Terms {
    /// What a side with these limits accepts.
    pub(crate) fn of(limits: &Limits) -> Self {
        let window = Grant { calls: limits.calls_in_flight, bytes: limits.bytes_in_flight };
        Self { max_frame: limits.max_frame, window }
    }
}
