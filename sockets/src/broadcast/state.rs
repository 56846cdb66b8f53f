//! The state of a member in the broadcasts of its server.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    Batch, BroadcastLog, FullWait, Message,
    lag::{Lag, Lagging},
    log::LogEntry,
};
use crate::{clock::now, lock::Notify};
use sockets_proto::SessionCore;

/// Minimum number of bytes of a long queue. If half of the queue's limit is less, that half applies
/// instead. An emitter that sends many bytes waits for members with long queues. Otherwise a loop
/// of emits would fill the queues of healthy members.
const LONG: usize = 512 * 1024;

/// The state of a member in the broadcasts of its server. A session of a client is no member.
pub(crate) struct BroadcastState<M> {
    subscription: Option<Subscription<M>>,
    /// The number of the last log entry that has been queued for this member.
    cursor: u64,
    lag: Lag,
}

/// The subscription of a member to the log of its shard.
struct Subscription<M> {
    log: Arc<BroadcastLog<M>>,
    /// The number of the member.
    number: u64,
    member: Weak<M>,
}

impl<M> BroadcastState<M> {
    pub(crate) fn new() -> Self {
        Self { subscription: None, cursor: 0, lag: Lag::None }
    }

    /// Subscribes the member to the log of a shard. The server calls this function once, before it
    /// sends any message.
    pub(crate) fn subscribe(&mut self, log: Arc<BroadcastLog<M>>, number: u64, member: Weak<M>) {
        self.cursor = log.newest();
        self.subscription = Some(Subscription { log, number, member });
    }

    /// Returns `true` if the log has entries after the cursor.
    #[inline]
    pub(crate) fn has_new(&self) -> bool {
        self.subscription.as_ref().is_some_and(|subscription| subscription.log.newest() != self.cursor)
    }

    /// Returns the messages to this member after the cursor, and advances the cursor.
    pub(crate) fn take_new(&mut self) -> Vec<Message> {
        let Some(Subscription { log, number, .. }) = &self.subscription else { return Vec::new() };
        let (new, newest) = log.since(self.cursor, *number);
        self.cursor = newest;
        new
    }

    /// Returns the entries of a batch after the cursor, and advances the cursor.
    pub(crate) fn advance<'a>(&mut self, batch: &'a Batch<M>) -> &'a [LogEntry<M>] {
        let new = batch.since(self.cursor);
        self.cursor = self.cursor.max(batch.last_number());
        new
    }

    /// Returns `true` if the overflow policy of the method applies to a full queue.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self.lag, Lag::GivenUp)
    }

    /// Records that the connection has accepted bytes.
    #[inline]
    pub(crate) fn note_progress(&mut self) {
        self.lag.note_progress();
    }

    /// Prepares for messages that are about to be queued for this member.
    #[inline]
    pub(crate) fn before_delivery<C, H: Clone>(&mut self, core: &SessionCore<C, H>) {
        if self.is_given_up() && core.queued() == 0 {
            self.lag = Lag::None;
        }
    }

    /// Returns `true` if the caller must call [`update_lag`](Self::update_lag) after it has queued
    /// messages for this member.
    #[inline]
    pub(crate) fn needs_update<C, H: Clone>(&self, core: &SessionCore<C, H>) -> bool {
        !matches!(self.lag, Lag::None) || is_long(core)
    }

    /// Updates the lag after messages have been queued for this member. If the connection is
    /// blocked, `blocked_since` returns the time at which the connection last accepted bytes.
    /// Returns the `Notify` of the waiting emitters if they have to be notified.
    #[must_use]
    pub(crate) fn update_lag<C, H: Clone>(
        &mut self,
        core: &SessionCore<C, H>,
        blocked_since: impl FnOnce() -> Option<Instant>,
    ) -> Option<Arc<Notify>> {
        if self.has_caught_up(core) {
            return self.leave_lag(core);
        }
        let is_full = !core.has_capacity();
        let has_changed = match &self.lag {
            Lag::None => is_full || is_long(core),
            // The queue is full, because this member has not caught up.
            Lag::Lagging(lagging) => lagging.full_since.is_none(),
            Lag::GivenUp => false,
        };
        if has_changed
            && let Some(Subscription { log, number, member }) = &self.subscription
            && let Some(member) = member.upgrade()
        {
            let now = now();
            let full_since = is_full.then_some(now);
            if let Lag::Lagging(lagging) = &mut self.lag {
                lagging.full_since = full_since;
            } else {
                let progress = blocked_since().unwrap_or(now);
                self.lag = Lag::Lagging(Box::new(Lagging { full_since, progress }));
            }
            log.laggards().add(*number, &member, is_full);
        }
        None
    }

    /// Returns `true` if this member is recorded as lagging although its queue has capacity. In
    /// that case, the caller must call [`leave_lag`](Self::leave_lag).
    #[inline]
    pub(crate) fn has_caught_up<C, H: Clone>(&self, core: &SessionCore<C, H>) -> bool {
        matches!(self.lag, Lag::Lagging(_)) && core.has_capacity()
    }

    /// Updates the lag after the queue has become shorter. Returns the `Notify` of the waiting
    /// emitters if they have to be notified.
    #[must_use]
    pub(crate) fn leave_lag<C, H: Clone>(&mut self, core: &SessionCore<C, H>) -> Option<Arc<Notify>> {
        let (is_long, Lag::Lagging(lagging)) = (is_long(core), &mut self.lag) else { return None };
        let was_full = lagging.full_since.take().is_some();
        if !is_long {
            self.lag = Lag::None;
        }
        if was_full || !is_long { self.leave_laggards(is_long) } else { None }
    }

    /// Stops all emitters from waiting for this member. Returns the `Notify` of the waiting
    /// emitters if they have to be notified.
    #[must_use]
    pub(crate) fn give_up(&mut self) -> Option<Arc<Notify>> {
        self.lag = Lag::GivenUp;
        self.leave_laggards(false)
    }

    fn leave_laggards(&self, is_long: bool) -> Option<Arc<Notify>> {
        let Subscription { log, number, .. } = self.subscription.as_ref()?;
        log.laggards().remove(*number, is_long)
    }

    /// Decides if an emitter waits for capacity in this member's full queue; see
    /// [`Member::full_until`].
    ///
    /// [`Member::full_until`]: super::Member::full_until
    pub(crate) fn wait_for_full(
        &mut self,
        now: Instant,
        wait: (Instant, Instant),
        accepted_at: Option<Instant>,
        is_over: bool,
    ) -> FullWait {
        self.lag.wait_for_full(now, wait, accepted_at, is_over)
    }

    /// Returns the time until which an emitter waits for a shorter queue of this member; see
    /// [`Member::long_until`].
    ///
    /// [`Member::long_until`]: super::Member::long_until
    pub(crate) fn long_until(&self, now: Instant, accepted_at: Option<Instant>) -> Option<Instant> {
        self.lag.long_until(now, accepted_at)
    }
}

#[inline]
fn is_long<C, H: Clone>(core: &SessionCore<C, H>) -> bool {
    core.queued() > LONG.min(core.queue_limit() / 2)
}
