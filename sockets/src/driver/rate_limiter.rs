//! Limits the calls and bytes per second that are accepted from a peer, by token buckets.

use std::time::{Duration, Instant};

use crate::limits::Limits;

/// The capacity of a token bucket, as the time in which an empty bucket fills.
const BURST: Duration = Duration::from_secs(1);

/// The buckets of a connection.
pub(super) struct RateLimiter {
    calls: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
}

impl RateLimiter {
    /// Creates the buckets at `now`, full. Returns `None` if the limits set no rate.
    pub(super) fn new(limits: &Limits, now: Instant) -> Option<Self> {
        let bucket = |per_second: Option<u32>| per_second.map(|per_second| TokenBucket::new(per_second, now));
        let (calls, bytes) = (bucket(limits.calls_per_second), bucket(limits.bytes_per_second));
        (calls.is_some() || bytes.is_some()).then_some(Self { calls, bytes })
    }

    /// Returns the time at which the next call of any size may start.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        [&self.calls, &self.bytes].into_iter().flatten().filter_map(TokenBucket::ready_at).max()
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.ready_at().is_none_or(|at| at <= now)
    }

    /// Takes the tokens of a call of `bytes`. The buckets may become negative.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) {
        for (bucket, amount) in [(&mut self.calls, 1), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.take(now, amount);
            }
        }
    }
}

struct TokenBucket {
    per_second: u64,
    /// The time at which the token bucket is full again, which determines the number of tokens. If
    /// it is later than the current time plus `BURST`, the number of tokens is negative.
    full_at: Instant,
}

impl TokenBucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), full_at: now }
    }

    /// Returns the time at which the bucket has a token. A token stands for a call or a byte.
    fn ready_at(&self) -> Option<Instant> {
        (self.full_at + self.time_of(1)).checked_sub(BURST)
    }

    fn take(&mut self, now: Instant, amount: usize) {
        self.full_at = self.full_at.max(now) + self.time_of(amount);
    }

    fn time_of(&self, amount: usize) -> Duration {
        Duration::from_nanos((amount as u64).saturating_mul(1_000_000_000).div_ceil(self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_of_a_second_is_accepted_then_calls_at_the_rate() {
        let start = Instant::now();
        for per_second in [1, 3, 7, 1000] {
            let limits = Limits::new().calls_per_second(per_second);
            let mut rate = RateLimiter::new(&limits, start).expect("a rate");
            let mut taken = 0;
            // The steps of a millisecond add up to ten seconds.
            for millis in 0..10_000 {
                let now = start + Duration::from_millis(millis);
                while rate.is_ready(now) {
                    rate.take(now, 0);
                    taken += 1;
                }
                let most = u64::from(per_second) * (millis + 1000) / 1000;
                assert!(taken <= most, "{taken} of {most} after {millis} ms");
            }
            assert!(taken >= u64::from(per_second) * 11 - u64::from(per_second) / 100 - 1, "{taken} of {per_second}");
        }
    }

    #[test]
    fn call_larger_than_the_bucket_delays_later_calls() {
        let start = Instant::now();
        let limits = Limits::new().bytes_per_second(1000);
        let mut rate = RateLimiter::new(&limits, start).expect("a rate");
        rate.take(start, 5000);
        assert!(!rate.is_ready(start + Duration::from_secs(4)));
        assert!(rate.is_ready(start + Duration::from_millis(4001)));
        assert!(RateLimiter::new(&Limits::default(), start).is_none());
    }
}
