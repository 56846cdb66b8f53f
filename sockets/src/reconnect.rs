//! The settings for reconnection.

use std::time::Duration;

/// The policy by which a client reconnects after a connection loss.
///
/// By default, the client makes attempts until an attempt succeeds. Before each attempt, the client
/// waits for a random fraction of a maximum delay. The maximum delay is 100 ms for the first
/// attempt. It doubles with each further attempt, up to 10 s. The random fractions spread the load
/// when a server loses all its clients at the same time.
///
/// The client counts attempts until a connection is steady. If a connection ends before it is
/// steady, the connection counts as a failed attempt. While each connection ends soon, the delays
/// therefore grow.
///
/// A connection becomes steady after a minimum lifetime, which is 1 s at first. With each attempt,
/// the minimum lifetime grows as the maximum delay does. The minimum lifetime is at most the
/// longest delay of the policy, and at most 1 min. After a connection that lasts for this maximum,
/// the minimum lifetime is 1 s again.
///
/// While the session can still be resumed, a delay is at most a third of
/// [`Limits::resume_within`](crate::Limits::resume_within). This limit is never less than the
/// maximum delay of the first attempt.
///
/// ```
/// use std::time::Duration;
/// use sockets::{Client, Reconnect};
///
/// let patient = Client::builder().reconnect(Reconnect::default().at_most_every(Duration::from_secs(60)));
/// let impatient = Client::builder().reconnect(Reconnect::never());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "pass it to `ClientBuilder::reconnect`"]
pub struct Reconnect {
    first: Duration,
    longest: Duration,
    attempts: u32,
    retries_first: bool,
}

/// The minimum of [`Reconnect::at_most_every`].
const LONGEST_MIN: Duration = Duration::from_millis(100);
/// The maximum of [`Reconnect::at_most_every`].
const LONGEST_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The delay that is doubled if the first attempt has no delay.
const STEP_MIN: Duration = Duration::from_millis(1);

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            attempts: u32::MAX,
            retries_first: false,
        }
    }
}

impl Reconnect {
    /// Returns a policy that makes no attempts, so that the session ends with its connection.
    pub fn never() -> Self {
        Self { attempts: 0, ..Self::default() }
    }

    /// Also retries the first connection: [`connect`](crate::ClientBuilder::connect) then returns
    /// when an attempt has succeeded. If the policy allows no further attempt, it fails with the error
    /// of the last attempt. By default, it makes a single attempt.
    pub fn retry_first(self) -> Self {
        Self { retries_first: true, ..self }
    }

    pub(crate) fn retries_first(&self) -> bool {
        self.retries_first
    }

    /// Sets the maximum delay before the first attempt. Default: 100 ms.
    ///
    /// If `first` is zero, the client makes the first attempt immediately. The maximum delay of the
    /// second attempt is then 2 ms.
    pub fn first_within(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Sets the maximum delay between two attempts. Default: 10 s. The value is clamped to the
    /// range from 100 ms to seven days.
    pub fn at_most_every(self, longest: Duration) -> Self {
        Self { longest: longest.clamp(LONGEST_MIN, LONGEST_MAX), ..self }
    }

    /// Sets the number of consecutive attempts after which the client gives up. Default: no limit.
    ///
    /// With 0, the client makes no attempts, as with [`never`](Self::never).
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    pub(crate) fn is_never(&self) -> bool {
        self.attempts == 0
    }

    pub(crate) fn max_attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the maximum delay before an attempt. The first attempt has number 1.
    pub(crate) fn longest_delay(&self, attempt: u32) -> Duration {
        if attempt <= 1 {
            return self.first.min(self.longest);
        }
        let doubled = 2_u32.checked_pow(attempt - 1).unwrap_or(u32::MAX);
        self.first.max(STEP_MIN).saturating_mul(doubled).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: &Reconnect, count: u32) -> Vec<u128> {
        (1..=count).map(|attempt| policy.longest_delay(attempt).as_millis()).collect()
    }

    #[test]
    fn delay_doubles_up_to_the_maximum() {
        let policy = Reconnect::default();
        assert_eq!(delays(&policy, 9), [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(policy.longest_delay(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn delay_grows_from_zero_first_delay() {
        let policy = Reconnect::default().first_within(Duration::ZERO);
        assert_eq!(delays(&policy, 8), [0, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(policy.longest_delay(u32::MAX), Duration::from_secs(10));
    }

    #[test]
    fn extreme_times_are_bounded() {
        let at_once = Reconnect::default().first_within(Duration::ZERO).at_most_every(Duration::ZERO);
        assert_eq!(at_once.longest_delay(20), LONGEST_MIN);
        let never = Reconnect::default().first_within(Duration::MAX).at_most_every(Duration::MAX);
        assert_eq!(never.longest_delay(1), LONGEST_MAX);
        assert_eq!(never.longest_delay(u32::MAX), LONGEST_MAX);
    }
}
