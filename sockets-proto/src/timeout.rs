//! Timeouts of calls, as local durations and as numbers on the wire.

use std::time::Duration;

/// The longest timeout. A longer timeout, such as a peer's `u64::MAX`, is shortened to this value.
const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Shortens a timeout to at most a week, so that it can be added to any point in time.
pub fn clamp(timeout: Duration) -> Duration {
    timeout.min(MAX)
}

/// Returns the timeout in milliseconds. The result is at least 1, since a timeout of 0 would elapse
/// immediately.
pub(super) fn to_wire(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns the timeout that a peer sent. The timeout is shortened as by [`clamp`].
pub(super) fn from_wire(millis: u64) -> Duration {
    clamp(Duration::from_millis(millis))
}
