//! Detection of dead connections, and heartbeats for the peer's detection.
//!
//! A message only sets a flag or a timestamp. Timers evaluate them, and are not moved for each
//! message.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::timeout;

/// The shortest idle timeout that is assumed of a peer. A shorter silence is no evidence of a dead
/// connection.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);
/// The bytes of an incomplete frame that have to arrive within the idle timeout.
const MIN_PROGRESS: usize = 64 * 1024;
/// The delay before the idle timeout is checked again if received bytes had not been processed.
const STARVED_RETRY: Duration = Duration::from_millis(10);

/// The times by which a peer detects a dead connection.
#[derive(Clone, Copy, Debug)]
pub struct KeepAliveConfig {
    /// The time without receiving after which the connection ends.
    pub idle_timeout: Duration,
    /// The time without sending after which a heartbeat is sent.
    pub interval: Duration,
}

impl KeepAliveConfig {
    /// Returns the idle timeout that is announced to the peer: at most a week.
    pub fn announced_idle_timeout(&self) -> Duration {
        timeout::clamp(self.idle_timeout)
    }
}

/// The state of keep-alive on a connection.
pub struct KeepAlive {
    /// The time without a received frame after which the connection ends.
    idle_timeout: Duration,
    /// The interval of checks for a heartbeat, half of the interval of heartbeats. `None` if the
    /// peers have not agreed to send heartbeats.
    check_interval: Option<Duration>,
    last_received: Instant,
    /// The length of an incomplete frame when it last counted as progress; 0 if there is none.
    partial_bytes: usize,
    /// `true` if bytes were sent since the last check.
    has_sent: bool,
    /// The times of the next checks for a heartbeat and for the idle timeout. Messages do not move
    /// them.
    send_check_at: Option<Instant>,
    idle_deadline: Option<Instant>,
}

impl KeepAlive {
    /// Creates the state for a new connection.
    ///
    /// `peer_idle_timeout` is the idle timeout of the peer, or `None` if the peer does not send
    /// heartbeats. `phase`, from 0 to 1, differs between connections, so that connections of the
    /// same age do not all send heartbeats at once.
    pub fn new(now: Instant, config: KeepAliveConfig, peer_idle_timeout: Option<Duration>, phase: f32) -> Self {
        let idle_timeout = config.announced_idle_timeout();
        let check_interval =
            peer_idle_timeout.map(|timeout| config.interval.min(timeout / 2).max(MIN_IDLE_TIMEOUT / 4) / 2);
        Self {
            idle_timeout,
            check_interval,
            last_received: now,
            partial_bytes: 0,
            has_sent: true,
            send_check_at: check_interval.map(|check_interval| now + check_interval.mul_f32(phase.clamp(0.0, 1.0))),
            idle_deadline: check_interval.map(|_| now + idle_timeout),
        }
    }

    /// Records a complete frame.
    #[inline]
    pub(super) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
        self.partial_bytes = 0;
    }

    /// Records that `bytes` bytes of an incomplete frame have arrived. Only the first bytes and a
    /// progress of [`MIN_PROGRESS`] extend the idle deadline, so a peer that trickles bytes still
    /// times out.
    pub(super) fn on_partial(&mut self, now: Instant, bytes: usize) {
        if self.partial_bytes == 0 || bytes >= self.partial_bytes + MIN_PROGRESS {
            self.last_received = now;
            self.partial_bytes = bytes;
            self.idle_deadline.get_or_insert(now + self.idle_timeout);
        }
    }

    /// Records that bytes were sent.
    #[inline]
    pub(super) fn on_sent(&mut self) {
        self.has_sent = true;
    }

    /// Returns the time of the next check.
    #[inline]
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.send_check_at, self.idle_deadline].into_iter().flatten().min()
    }

    /// Returns `None` if no check is due, or else whether nothing was sent since the last check.
    #[inline]
    pub(super) fn poll_heartbeat(&mut self, now: Instant) -> Option<bool> {
        let (check_interval, at) = (self.check_interval?, self.send_check_at?);
        if now < at {
            return None;
        }
        let next = at + check_interval;
        self.send_check_at = Some(if next > now { next } else { now + check_interval });
        Some(!mem::take(&mut self.has_sent))
    }

    /// Stops the timers while there is no connection.
    pub(super) fn pause(&mut self) {
        (self.send_check_at, self.idle_deadline) = (None, None);
    }

    /// Starts the timers on another connection.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.last_received, self.partial_bytes, self.has_sent) = (now, 0, true);
        self.send_check_at = self.check_interval.map(|check_interval| now + check_interval);
        self.idle_deadline = self.check_interval.map(|_| now + self.idle_timeout);
    }

    /// Returns `true` if the connection is considered lost. `input_drained` states that all
    /// received bytes have been processed.
    #[inline]
    pub(super) fn poll_idle_timeout(&mut self, now: Instant, input_drained: bool) -> bool {
        if self.idle_deadline.is_none_or(|by| now < by) {
            return false;
        }
        let until = self.last_received + self.idle_timeout;
        // A peer without heartbeats may be silent between its frames.
        let expected = self.check_interval.is_some() || self.partial_bytes > 0;
        self.idle_deadline = expected.then(|| if now < until { until } else { now + STARVED_RETRY });
        expected && input_drained && now >= until
    }
}
