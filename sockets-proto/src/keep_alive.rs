//! Detection of dead connections, and heartbeats, which show the peer that a connection is alive.
//!
//! A sent or received message only sets a flag or a timestamp, so that no message has to move a
//! timer. The session checks the flag and the timestamp when a timer fires.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::timeout;

/// The minimum idle timeout of the peer. If the peer announces a shorter timeout, the session uses
/// this minimum, because a shorter silence does not prove that a connection is dead.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);
/// Minimum number of bytes of an incomplete frame that have to arrive within each idle timeout.
const MIN_PROGRESS: usize = 64 * 1024;
/// The delay before the next check, if the idle timeout has passed but the driver has not processed
/// all received bytes. The connection stays open meanwhile, because these bytes may contain a frame
/// of the peer.
const STARVED_RETRY: Duration = Duration::from_millis(10);

/// The durations that control how a peer detects a dead connection.
#[derive(Clone, Copy, Debug)]
pub struct KeepAliveConfig {
    /// The idle timeout. If no frame arrives for this time, the connection ends.
    pub idle_timeout: Duration,
    /// The interval of heartbeats. If the session sends no frame for this time, it sends a
    /// heartbeat.
    pub interval: Duration,
}

impl KeepAliveConfig {
    /// Returns the idle timeout that the handshake announces to the peer. The result is at most a
    /// week.
    pub fn announced_idle_timeout(&self) -> Duration {
        timeout::clamp(self.idle_timeout)
    }
}

/// The state of keep-alive on a connection.
pub struct KeepAlive {
    /// The idle timeout. If no frame arrives for this time, the connection is considered lost.
    idle_timeout: Duration,
    /// The interval between two checks for a due heartbeat. It is half of the interval between
    /// heartbeats. The field is `None` if the peers have not agreed to send heartbeats.
    check_interval: Option<Duration>,
    last_received: Instant,
    /// The length of the received part of an incomplete frame when [`on_partial`](Self::on_partial)
    /// last moved the idle deadline. The length is 0 if no frame is incomplete.
    partial_bytes: usize,
    /// `true` if bytes were sent since the last check.
    has_sent: bool,
    /// The time of the next check for a due heartbeat. Messages do not change this time.
    send_check_at: Option<Instant>,
    /// The time of the next check of the idle timeout. Messages do not change this time.
    idle_deadline: Option<Instant>,
}

impl KeepAlive {
    /// Creates the state for a new connection.
    ///
    /// `peer_idle_timeout` is the idle timeout of the peer, or `None` if the peer does not send
    /// heartbeats. `phase` is a number from 0 to 1 that differs between connections. It prevents
    /// connections of the same age from sending their heartbeats at the same time.
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

    /// Records that `bytes` bytes of an incomplete frame have arrived. The idle deadline moves when
    /// the first bytes of a frame arrive, and after each further [`MIN_PROGRESS`] bytes. Fewer
    /// bytes do not move it. So if the peer sends only a few bytes at a time, the idle timeout ends
    /// the connection.
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

    /// Checks whether a heartbeat is due. Returns `None` before the time of the next check. From
    /// that time on, returns `Some(true)` if nothing was sent since the last check, and otherwise
    /// `Some(false)`.
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

    /// Returns `true` if the idle timeout has passed, so that the session has to consider the
    /// connection lost. The caller sets `input_drained` if it has processed all received bytes.
    #[inline]
    pub(super) fn poll_idle_timeout(&mut self, now: Instant, input_drained: bool) -> bool {
        if self.idle_deadline.is_none_or(|by| now < by) {
            return false;
        }
        let until = self.last_received + self.idle_timeout;
        // A peer that sends no heartbeats may be silent between two frames.
        let expected = self.check_interval.is_some() || self.partial_bytes > 0;
        self.idle_deadline = expected.then(|| if now < until { until } else { now + STARVED_RETRY });
        expected && input_drained && now >= until
    }
}
