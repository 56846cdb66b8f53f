//! How a member keeps up with what is sent to its audiences, and how long emitters wait for it.

use std::time::{Duration, Instant};

use super::{Session, State, broadcast_cursor::BroadcastCursor};
use crate::clock::now;

/// Of a larger queue, emitters that send much wait for it to become shorter: so a loop of emits does not fill the queues
/// of healthy members. It is less where the queue's limit is.
const LONG: usize = 512 * 1024;
/// How recently a member with a full queue must have taken bytes, so that emitters wait for it.
const WAIT_FOR_FULL: Duration = Duration::from_secs(1);
/// How recently a member with a long queue must have taken bytes: the round trip of a distant one.
const WAIT_FOR_LONG: Duration = Duration::from_millis(300);

/// How a member keeps up.
#[derive(Debug, Default)]
pub(super) enum Lag {
    /// Its queue is short.
    #[default]
    None,
    /// Its queue is long or full, and it is among the [laggards](super::Laggards) of its shard.
    Lagging(Box<Lagging>),
    /// It did not make room for an emitter in time. Its methods' policies apply, and no emitter waits for it, until its
    /// queue is empty.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Lagging {
    /// Since when its queue has been full without a break, if it is.
    full_since: Option<Instant>,
    /// When its connection last took bytes, as far as the queue shows.
    progress: Instant,
}

impl Lag {
    /// Returns `true` if a full queue is to be met with the method's policy.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self, Self::GivenUp)
    }

    /// The peer has taken bytes.
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
    /// Messages are going to be queued for this member.
    #[inline]
    pub(super) fn before_delivery(state: &mut State) {
        if state.lag.is_given_up() && state.core.queued() == 0 {
            state.lag = Lag::None;
        }
    }

    /// Messages have been queued for this member.
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
        let is_new = match &state.lag {
            Lag::None => true,
            Lag::Lagging(lagging) => lagging.full_since.is_some() != is_full,
            Lag::GivenUp => false,
        };
        if !is_new {
            return;
        }
        let Some(BroadcastCursor { log, member, session }) = self.following.get() else { return };
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

    /// The queue may have become shorter.
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

    /// No emitter waits for this member any more.
    pub(super) fn give_up_waiting(&self, state: &mut State) {
        state.lag = Lag::GivenUp;
        self.leave_laggards(state, false);
    }

    fn leave_laggards(&self, state: &mut State, is_long: bool) {
        if let Some(BroadcastCursor { log, member, .. }) = self.following.get()
            && let Some(emitters) = log.laggards().remove(*member, is_long)
        {
            state.notify_emitters(emitters);
        }
    }

    /// Returns until when an emitter that began to wait at `began` waits for room in this member's queue, `last` or
    /// earlier. Returns `None` if there is room, and if that time has passed. Then the methods' policies apply to this
    /// member, unless it has made room meanwhile and other emitters have taken it: it accepts this message, too.
    pub(crate) fn full_until(&self, now: Instant, began: Instant, last: Instant) -> Option<Instant> {
        let taken = self.write_progress.last_taken();
        let mut state = self.state.lock();
        self.queue_has_shrunk(&mut state);
        let Lag::Lagging(lagging) = &mut state.lag else { return None };
        let full_since = lagging.full_since?;
        lagging.progress = lagging.progress.max(taken.unwrap_or(lagging.progress));
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

    /// Returns until when an emitter that sends much waits for this member's queue to become shorter; `None` if it is
    /// short, or if the member has taken nothing for a while.
    pub(crate) fn long_until(&self, now: Instant) -> Option<Instant> {
        let taken = self.write_progress.last_taken();
        let state = self.state.lock();
        let Lag::Lagging(lagging) = &state.lag else { return None };
        let until = lagging.progress.max(taken.unwrap_or(lagging.progress)) + WAIT_FOR_LONG;
        (now < until && !self.is_over(&state)).then_some(until)
    }
}
