//! Lagging members of audiences, and the time for which emitters wait for them.

use std::time::{Duration, Instant};

use super::{Session, State, broadcast_cursor::BroadcastCursor};
use crate::clock::now;

/// The bytes from which a queue is long. Emitters that send much wait until it is shorter, so that
/// a loop of emits does not fill the queues of healthy members. A small limit of the queue reduces
/// it.
const LONG: usize = 512 * 1024;
/// The time since the last progress for which emitters wait for a member with a full queue.
const WAIT_FOR_FULL: Duration = Duration::from_secs(1);
/// The time since the last progress for which emitters wait for a member with a long queue: the
/// round trip of a distant member.
const WAIT_FOR_LONG: Duration = Duration::from_millis(300);

/// The lag of a member.
#[derive(Debug, Default)]
pub(super) enum Lag {
    /// Its queue is short.
    #[default]
    None,
    /// Its queue is long or full, and it is among the [laggards](super::Laggards) of its shard.
    Lagging(Box<Lagging>),
    /// Its queue stayed full while an emitter waited. Until the queue is empty, the overflow policy
    /// of each method applies, and no emitter waits for this member.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Lagging {
    /// The time since which its queue has been full without a break, if it is full.
    full_since: Option<Instant>,
    /// The time at which its connection last accepted bytes, as far as the queue shows.
    progress: Instant,
}

impl Lag {
    /// Returns `true` if the overflow policy of the method applies to a full queue.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self, Self::GivenUp)
    }

    /// Records that the connection has accepted bytes.
    #[inline]
    pub(super) fn note_progress(&mut self) {
        if let Self::Lagging(lagging) = self {
            lagging.progress = now();
        }
    }
}

#[inline]
fn is_long(state: &State) -> bool {
    state.core.queued() > LONG.min(state.core.queue_limit() / 2)
}

impl Session {
    /// Prepares for messages that are about to be queued for this member.
    #[inline]
    pub(super) fn before_delivery(state: &mut State) {
        if state.lag.is_given_up() && state.core.queued() == 0 {
            state.lag = Lag::None;
        }
    }

    /// Updates the lag after messages have been queued for this member.
    #[inline]
    pub(super) fn after_delivery(&self, state: &mut State) {
        if !matches!(state.lag, Lag::None) || is_long(state) {
            self.update_lag(state);
        }
    }

    #[cold]
    fn update_lag(&self, state: &mut State) {
        let is_full = !state.core.has_capacity();
        if !is_full && !is_long(state) {
            return self.queue_has_shrunk(state);
        }
        let has_changed = match &state.lag {
            Lag::None => true,
            Lag::Lagging(lagging) => lagging.full_since.is_some() != is_full,
            Lag::GivenUp => false,
        };
        if !has_changed {
            return;
        }
        let Some(BroadcastCursor { log, member, session }) = self.broadcast_cursor.get() else { return };
        let Some(session) = session.upgrade() else { return };
        let now = now();
        let full_since = is_full.then_some(now);
        if let Lag::Lagging(lagging) = &mut state.lag {
            lagging.full_since = full_since;
        } else {
            let progress = self.write_progress.blocked_since().unwrap_or(now);
            state.lag = Lag::Lagging(Box::new(Lagging { full_since, progress }));
        }
        log.laggards().add(*member, &session, is_full);
    }

    /// Updates the lag after the queue may have become shorter.
    #[inline]
    pub(super) fn queue_has_shrunk(&self, state: &mut State) {
        if matches!(state.lag, Lag::Lagging(_)) && state.core.has_capacity() {
            self.leave_lag(state);
        }
    }

    #[cold]
    fn leave_lag(&self, state: &mut State) {
        let (is_long, Lag::Lagging(lagging)) = (is_long(state), &mut state.lag) else { return };
        let was_full = lagging.full_since.take().is_some();
        if !is_long {
            state.lag = Lag::None;
        }
        if was_full || !is_long {
            self.leave_laggards(state, is_long);
        }
    }

    /// Stops all emitters from waiting for this member.
    pub(super) fn give_up_waiting(&self, state: &mut State) {
        state.lag = Lag::GivenUp;
        self.leave_laggards(state, false);
    }

    fn leave_laggards(&self, state: &mut State, is_long: bool) {
        if let Some(BroadcastCursor { log, member, .. }) = self.broadcast_cursor.get()
            && let Some(emitters) = log.laggards().remove(*member, is_long)
        {
            state.notify_emitters(emitters);
        }
    }

    /// Returns the time until which an emitter waits for capacity in this member's queue, at most
    /// `last`. The emitter began to wait at `began`. Returns `None` if there is capacity, or if
    /// that time has passed.
    ///
    /// When the time has passed, the overflow policies of the methods apply to this member. If it
    /// had capacity meanwhile, which other emitters used, it accepts this message above its limit
    /// instead.
    pub(crate) fn full_until(&self, now: Instant, began: Instant, last: Instant) -> Option<Instant> {
        let accepted_at = self.write_progress.last_accepted();
        let mut state = self.state.lock();
        self.queue_has_shrunk(&mut state);
        let Lag::Lagging(lagging) = &mut state.lag else { return None };
        let full_since = lagging.full_since?;
        lagging.progress = lagging.progress.max(accepted_at.unwrap_or(lagging.progress));
        let until = last.min(lagging.progress + WAIT_FOR_FULL);
        let is_over = self.is_over(&state);
        if now < until && !is_over {
            return Some(until);
        }
        if now < last || full_since <= began || is_over {
            self.give_up_waiting(&mut state);
        }
        None
    }

    /// Returns the time until which an emitter that sends much waits for a shorter queue of this
    /// member. Returns `None` if the queue is short, or if the connection has accepted no bytes for
    /// a while.
    pub(crate) fn long_until(&self, now: Instant) -> Option<Instant> {
        let accepted_at = self.write_progress.last_accepted();
        let state = self.state.lock();
        let Lag::Lagging(lagging) = &state.lag else { return None };
        let until = lagging.progress.max(accepted_at.unwrap_or(lagging.progress)) + WAIT_FOR_LONG;
        (now < until && !self.is_over(&state)).then_some(until)
    }
}
