//! How long a call may take, in time and on the wire.

use std::time::Duration;

/// The longest deadline. Longer ones, a peer's `u64::MAX` among them, are cut to it.
const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A timeout that can be added to a time.
pub fn clamp(timeout: Duration) -> Duration {
    timeout.min(MAX)
}

/// A timeout on the wire: at least a millisecond, so that it is not over before it begins.
pub(super) fn to_wire(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A timeout off the wire.
pub(super) fn from_wire(millis: u64) -> Duration {
    clamp(Duration::from_millis(millis))
}
