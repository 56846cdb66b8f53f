//! Settings that the peers exchange in the handshake.

use serde::{Deserialize, Serialize};

use super::window::WindowSize;

/// The minimum of `max_frame` in bytes. Every control frame fits into it, together with a text of
/// useful length.
const FRAME_MIN: u32 = 256;

/// The limits of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The maximum length of a frame without its prefix, in bytes.
    pub max_frame: u32,
    /// The flow-control window.
    pub window: WindowSize,
}

impl Settings {
    /// Returns settings that accept frames of `max_frame` bytes. At most `calls` calls with `bytes`
    /// bytes in total may be in flight.
    pub fn new(max_frame: u32, calls: u32, bytes: u32) -> Self {
        Self { max_frame, window: WindowSize { calls, bytes } }
    }

    /// Checks that a session is possible with these settings.
    ///
    /// # Errors
    ///
    /// Returns a message if a peer with these settings cannot take part in a session.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.max_frame < FRAME_MIN {
            return Err("`max_frame` must be at least 256 bytes");
        }
        if self.window.calls == 0 || self.window.bytes == 0 {
            return Err("the window must not be empty");
        }
        Ok(())
    }
}
