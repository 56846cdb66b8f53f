//! Timeouts of calls, locally and on the wire.

use std::time::Duration;

/// The longest timeout. Longer ones, such as a peer's `u64::MAX`, are shortened to it.
const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Returns the timeout, limited so that it can be added to any point in time.
pub fn clamp(timeout: Duration) -> Duration {
    timeout.min(MAX)
}

/// Returns the timeout in milliseconds, at least 1, so that it does not elapse immediately.
pub(super) fn to_wire(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns the timeout that a peer sent, limited as by [`clamp`].
pub(super) fn from_wire(millis: u64) -> Duration {
    clamp(Duration::from_millis(millis))
}
