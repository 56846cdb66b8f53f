//! The delays between a client's attempts to reconnect.

use std::time::Duration;

use tokio::time::Instant;

use crate::reconnect::Reconnect;

/// Minimum lifetime of a steady connection. A steady connection resets the count of attempts, and a
/// shorter connection counts as a failed attempt. So clients do not flood a server or network that
/// ends each connection soon.
const STEADY_MIN: Duration = Duration::from_secs(1);
/// Upper bound of the minimum lifetime of a steady connection, even if the longest delay of the
/// policy is longer.
const STEADY_MAX: Duration = Duration::from_secs(60);

/// The number by which the client divides the time for resumption. While the session can still be
/// resumed, the delay before an attempt is at most this part of the time. Several attempts are
/// therefore possible.
const RESUME_DIVISOR: u32 = 3;

/// A counter of the consecutive attempts of a client to reconnect. It determines the delays between
/// the attempts.
pub(crate) struct Backoff {
    policy: Reconnect,
    /// The time for which the client expects the server to keep a detached session.
    resume_within: Duration,
    /// The number of attempts since the last steady connection. An attempt counts even if it
    /// results in a connection, as long as that connection is not steady.
    attempts: u32,
    /// The number of attempts since the last connection that lasted for the longest delay. This
    /// number determines the minimum lifetime of a steady connection.
    recent: u32,
    established: Option<Instant>,
    lost: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect, resume_within: Duration) -> Self {
        Self { policy, resume_within, attempts: 0, recent: 0, established: None, lost: None }
    }

    /// Records that the connection is established: the session has been resumed, or a new session
    /// is ready.
    pub(crate) fn on_established(&mut self, now: Instant) {
        self.established.get_or_insert(now);
    }

    /// Records that the connection has ended.
    pub(crate) fn on_lost(&mut self, now: Instant) {
        if let Some(since) = self.established.take() {
            let lifetime = now.saturating_duration_since(since);
            if lifetime >= self.steady(self.recent) {
                self.attempts = 0;
            }
            if lifetime >= self.steady(u32::MAX) {
                self.recent = 0;
            }
        }
        self.lost = Some(now);
    }

    /// Returns the minimum lifetime of a steady connection after this number of attempts.
    fn steady(&self, attempts: u32) -> Duration {
        self.policy.longest_delay(attempts).clamp(STEADY_MIN, STEADY_MAX)
    }

    /// Returns the number of the next attempt and the delay before it. Returns `None` if the policy
    /// allows no further attempt. `part` is a random number from 0 to 1 that scales the delay.
    pub(crate) fn next(&mut self, now: Instant, part: f64) -> Option<(u32, Duration)> {
        if self.attempts >= self.policy.max_attempts() {
            return None;
        }
        self.attempts += 1;
        self.recent = self.recent.saturating_add(1);
        let longest = self.policy.longest_delay(self.attempts);
        let can_be_resumed = self.lost.is_some_and(|lost| now.saturating_duration_since(lost) < self.resume_within);
        let limit = (self.resume_within / RESUME_DIVISOR).max(self.policy.longest_delay(1));
        let longest = if can_be_resumed { longest.min(limit) } else { longest };
        Some((self.attempts, longest.mul_f64(part)))
    }
}

/// Returns a random number from 0 to 1.
pub(crate) fn random_fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Returns the longest possible delays of consecutive attempts, if each attempt results in a
    /// connection that lasts for `lifetime`.
    fn delays(policy: Reconnect, lifetime: Duration) -> Vec<u128> {
        let mut backoff = Backoff::new(policy, Duration::from_secs(30));
        let mut now = Instant::now();
        let delays = (0..12).map(|_| {
            backoff.on_established(now);
            now += lifetime;
            backoff.on_lost(now);
            let (_, delay) = backoff.next(now, 1.0).unwrap();
            now += delay;
            delay.as_millis()
        });
        delays.collect()
    }

    #[test]
    fn short_connections_increase_delay() {
        let growing = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000, 10_000];
        for lifetime in [0, 5, 50, 999] {
            assert_eq!(delays(Reconnect::default(), Duration::from_millis(lifetime)), growing);
        }
    }

    #[test]
    fn steady_connection_resets_delay() {
        for lifetime in [10_000, 60_000] {
            assert_eq!(delays(Reconnect::default(), Duration::from_millis(lifetime)), [100; 12]);
        }
        let slow = Reconnect::default().at_most_every(10 * MINUTE);
        assert_eq!(delays(slow, MINUTE), [100; 12]);
    }

    #[test]
    fn delay_grows_after_several_short_connections() {
        let expected = [100, 100, 100, 100, 100, 200, 400, 800, 1600, 3200, 6400, 10_000];
        assert_eq!(delays(Reconnect::default(), Duration::from_millis(1100)), expected);
        assert_eq!(delays(Reconnect::default(), Duration::from_secs(5))[..7], [100; 7]);
        assert_eq!(delays(Reconnect::default(), Duration::from_secs(5))[7..], [200, 400, 800, 1600, 3200]);
    }

    #[test]
    fn attempts_are_limited_across_short_connections() {
        let mut backoff = Backoff::new(Reconnect::default().attempts(3), MINUTE);
        let mut now = Instant::now();
        let mut count = 0;
        loop {
            backoff.on_established(now);
            now += Duration::from_millis(1100);
            backoff.on_lost(now);
            if backoff.next(now, 1.0).is_none() {
                break;
            }
            count += 1;
            assert!(count < 100, "the attempts do not end");
        }
        assert_eq!(count, 7);
    }

    #[test]
    fn delay_is_limited_while_session_can_resume() {
        let policy = Reconnect::default().at_most_every(10 * MINUTE);
        assert_eq!(delays(policy.clone(), Duration::ZERO).last(), Some(&10_000));
        let mut backoff = Backoff::new(policy, Duration::from_secs(30));
        let lost = Instant::now();
        backoff.on_lost(lost);
        let later = lost + Duration::from_secs(30);
        let delays: Vec<_> = (0..16).map(|_| backoff.next(later, 1.0).unwrap().1).collect();
        assert_eq!(delays.last(), Some(&(10 * MINUTE)), "the session cannot be resumed any more");
    }

    #[test]
    fn short_connection_counts_as_failed_attempt() {
        let mut backoff = Backoff::new(Reconnect::default().attempts(3), MINUTE);
        let now = Instant::now();
        for attempt in 1..=3 {
            backoff.on_established(now);
            backoff.on_lost(now);
            assert_eq!(backoff.next(now, 0.0).unwrap().0, attempt);
        }
        assert_eq!(backoff.next(now, 0.0), None);
    }

    #[test]
    fn connection_never_established_is_not_steady() {
        let mut backoff = Backoff::new(Reconnect::default(), MINUTE);
        let now = Instant::now();
        backoff.next(now, 0.0);
        backoff.on_lost(now + MINUTE);
        assert_eq!(backoff.next(now + MINUTE, 0.0).unwrap().0, 2);
    }
}
