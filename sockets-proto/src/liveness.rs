//! Whether the other side is still there, and that it hears that this one is.
//!
//! Nothing is done for a message but to note that it came or went. What follows from that is looked at from time to time.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::timeout;

/// Silence for less than this says nothing about a link.
const SILENCE_MIN: Duration = Duration::from_millis(200);
/// Of a frame that takes its time, so much has to arrive within the time of silence.
const PROGRESS: usize = 64 * 1024;
/// How long one who could not listen waits before it says that it has heard nothing.
const MOMENT: Duration = Duration::from_millis(10);

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
pub struct Liveness {
    /// How long nothing may be heard.
    silence: Duration,
    /// How often this side looks whether it has said anything: twice for each heartbeat. `None` if the two sides have
    /// not agreed to send any.
    pace: Option<Duration>,
    heard: Instant,
    /// How much there was of a frame that is not whole, when that was last worth noting; 0 if there was none.
    begun: usize,
    /// Something has been written since this side last looked.
    said: bool,
    /// When to look whether anything has been said, and whether anything has been heard. Neither moves with a message.
    say_at: Option<Instant>,
    hear_by: Option<Instant>,
}

impl Liveness {
    /// The other side bears silence for `theirs`, if it knows heartbeats. `phase`, from 0 to 1, is different for each
    /// connection, so that many that began together do not all speak at once.
    pub fn new(now: Instant, config: KeepAliveConfig, theirs: Option<Duration>, phase: f32) -> Self {
        let silence = config.announced_idle_timeout();
        let pace = theirs.map(|theirs| config.interval.min(theirs / 2).max(SILENCE_MIN / 4) / 2);
        Self {
            silence,
            pace,
            heard: now,
            begun: 0,
            said: true,
            say_at: pace.map(|pace| now + pace.mul_f32(phase.clamp(0.0, 1.0))),
            hear_by: pace.map(|_| now + silence),
        }
    }

    /// A whole frame has come.
    #[inline]
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.begun = 0;
    }

    /// So many bytes have come of a frame that is not whole. It counts that it begins, and that it gets on: one who sends
    /// a byte now and then is not heard.
    pub(super) fn heard_part(&mut self, now: Instant, bytes: usize) {
        if self.begun == 0 || bytes >= self.begun + PROGRESS {
            self.heard = now;
            self.begun = bytes;
            self.hear_by.get_or_insert(now + self.silence);
        }
    }

    /// Something has been written.
    #[inline]
    pub(super) fn said(&mut self) {
        self.said = true;
    }

    /// When there is something to look at.
    #[inline]
    pub(super) fn next_look(&self) -> Option<Instant> {
        [self.say_at, self.hear_by].into_iter().flatten().min()
    }

    /// If it is time to look for that: whether nothing was said since the last time.
    #[inline]
    pub(super) fn is_to_speak(&mut self, now: Instant) -> Option<bool> {
        let (pace, at) = (self.pace?, self.say_at?);
        if now < at {
            return None;
        }
        let next = at + pace;
        self.say_at = Some(if next > now { next } else { now + pace });
        Some(!mem::take(&mut self.said))
    }

    /// There is no link.
    pub(super) fn rest(&mut self) {
        (self.say_at, self.hear_by) = (None, None);
    }

    /// There is another link.
    pub(super) fn wake(&mut self, now: Instant) {
        (self.heard, self.begun, self.said) = (now, 0, true);
        self.say_at = self.pace.map(|pace| now + pace);
        self.hear_by = self.pace.map(|_| now + self.silence);
    }

    /// Whether nothing was heard for too long. `listened` says that nothing has come that was not looked at yet.
    #[inline]
    pub(super) fn is_silent(&mut self, now: Instant, listened: bool) -> bool {
        if self.hear_by.is_none_or(|by| now < by) {
            return false;
        }
        let until = self.heard + self.silence;
        // One who knows no heartbeats may be silent between its frames.
        let expected = self.pace.is_some() || self.begun > 0;
        self.hear_by = expected.then(|| if now < until { until } else { now + MOMENT });
        expected && listened && now >= until
    }
}
