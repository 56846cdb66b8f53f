//! What the two sides tell each other in the handshake.

use serde::{Deserialize, Serialize};

use super::window::Grant;
use crate::limits::Limits;

/// The least that `max_frame` can be: every control frame with a text that says something fits.
const FRAME_MIN: u32 = 256;

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
        let window = Grant { calls: limits.calls_in_flight.max(1), bytes: limits.bytes_in_flight.max(1) };
        Self { max_frame: limits.max_frame.max(FRAME_MIN), window }
    }

    /// Whether a conversation is possible at all.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.max_frame < FRAME_MIN {
            return Err("frames of at least 256 bytes have to be accepted");
        }
        if self.window.calls == 0 || self.window.bytes == 0 {
            return Err("the window has to be open");
        }
        Ok(())
    }
}
