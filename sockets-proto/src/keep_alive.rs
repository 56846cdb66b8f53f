//! Whether the other side is still there, and that it hears that this one is.
//!
//! Nothing is done for a message but to note that it came or went. What follows from that is looked at from time to time.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::timeout;

/// Silence for less than this says nothing about a link.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);
/// Of a frame that takes its time, so much has to arrive within the time of silence.
const MIN_PROGRESS: usize = 64 * 1024;
/// How long one who could not listen waits before it says that it has heard nothing.
const STARVED_RETRY: Duration = Duration::from_millis(10);

/// The times by which a side detects a dead connection.
#[derive(Clone, Copy, Debug)]
pub struct KeepAliveConfig {
    /// The time without receiving after which the connection ends.
    pub idle_timeout: Duration,
    /// The time without sending after which a heartbeat is sent.
    pub interval: Duration,
}

impl KeepAliveConfig {
    /// Returns the idle timeout that this side announces to its peer.
    pub fn announced_idle_timeout(&self) -> Duration {
        timeout::clamp(self.idle_timeout)
    }
}

/// When something was heard and said last.
pub struct KeepAlive {
    /// How long nothing may be heard.
    idle_timeout: Duration,
    /// How often this side looks whether it has said anything: twice for each heartbeat. `None` if the two sides have
    /// not agreed to send any.
    check_interval: Option<Duration>,
    last_received: Instant,
    /// How much there was of a frame that is not whole, when that was last worth noting; 0 if there was none.
    partial_bytes: usize,
    /// Something has been written since this side last looked.
    has_sent: bool,
    /// When to look whether anything has been said, and whether anything has been heard. Neither moves with a message.
    send_check_at: Option<Instant>,
    idle_deadline: Option<Instant>,
}

impl KeepAlive {
    /// The other side bears silence for `theirs`, if it knows heartbeats. `phase`, from 0 to 1, is different for each
    /// connection, so that many that began together do not all speak at once.
    pub fn new(now: Instant, config: KeepAliveConfig, theirs: Option<Duration>, phase: f32) -> Self {
        let silence = config.announced_idle_timeout();
        let pace = theirs.map(|theirs| config.interval.min(theirs / 2).max(MIN_IDLE_TIMEOUT / 4) / 2);
        Self {
            idle_timeout: silence,
            check_interval: pace,
            last_received: now,
            partial_bytes: 0,
            has_sent: true,
            send_check_at: pace.map(|pace| now + pace.mul_f32(phase.clamp(0.0, 1.0))),
            idle_deadline: pace.map(|_| now + silence),
        }
    }

    /// A whole frame has come.
    #[inline]
    pub(super) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
        self.partial_bytes = 0;
    }

    /// So many bytes have come of a frame that is not whole. It counts that it begins, and that it gets on: one who sends
    /// a byte now and then is not heard.
    pub(super) fn on_partial(&mut self, now: Instant, bytes: usize) {
        if self.partial_bytes == 0 || bytes >= self.partial_bytes + MIN_PROGRESS {
            self.last_received = now;
            self.partial_bytes = bytes;
            self.idle_deadline.get_or_insert(now + self.idle_timeout);
        }
    }

    /// Something has been written.
    #[inline]
    pub(super) fn on_sent(&mut self) {
        self.has_sent = true;
    }

    /// When there is something to look at.
    #[inline]
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.send_check_at, self.idle_deadline].into_iter().flatten().min()
    }

    /// If it is time to look for that: whether nothing was said since the last time.
    #[inline]
    pub(super) fn poll_heartbeat(&mut self, now: Instant) -> Option<bool> {
        let (pace, at) = (self.check_interval?, self.send_check_at?);
        if now < at {
            return None;
        }
        let next = at + pace;
        self.send_check_at = Some(if next > now { next } else { now + pace });
        Some(!mem::take(&mut self.has_sent))
    }

    /// There is no link.
    pub(super) fn pause(&mut self) {
        (self.send_check_at, self.idle_deadline) = (None, None);
    }

    /// There is another link.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.last_received, self.partial_bytes, self.has_sent) = (now, 0, true);
        self.send_check_at = self.check_interval.map(|pace| now + pace);
        self.idle_deadline = self.check_interval.map(|_| now + self.idle_timeout);
    }

    /// Whether nothing was heard for too long. `listened` says that nothing has come that was not looked at yet.
    #[inline]
    pub(super) fn poll_idle_timeout(&mut self, now: Instant, listened: bool) -> bool {
        if self.idle_deadline.is_none_or(|by| now < by) {
            return false;
        }
        let until = self.last_received + self.idle_timeout;
        // One who knows no heartbeats may be silent between its frames.
        let expected = self.check_interval.is_some() || self.partial_bytes > 0;
        self.idle_deadline = expected.then(|| if now < until { until } else { now + STARVED_RETRY });
        expected && listened && now >= until
    }
}
