//! What the two sides tell each other in the handshake.

use serde::{Deserialize, Serialize};

use super::window::WindowSize;

/// The least that `max_frame` can be: every control frame with a text that says something fits.
const FRAME_MIN: u32 = 256;

/// What a side accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The longest frame, without its prefix.
    pub max_frame: u32,
    /// The flow-control window.
    pub window: WindowSize,
}

impl Settings {
    /// Returns settings that accept frames of `max_frame` bytes, and `calls` calls of `bytes` bytes in flight.
    pub fn new(max_frame: u32, calls: u32, bytes: u32) -> Self {
        Self { max_frame, window: WindowSize { calls, bytes } }
    }

    /// Whether a conversation is possible at all.
    ///
    /// # Errors
    ///
    /// Returns a message if a peer with these settings cannot take part in a session.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.max_frame < FRAME_MIN {
            return Err("frames of at least 256 bytes have to be accepted");
        }
        if self.window.calls == 0 || self.window.bytes == 0 {
            return Err("the window has to be open");
        }
        Ok(())
    }
}
