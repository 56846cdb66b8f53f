//! The lock of a session's state, and the wakes and events that run after its release.

use crate::peer_label::PeerLabel;
use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use super::State;
use crate::lock::{Mutex, MutexGuard, Notify, event, wake};
use sockets_proto::Overflow;

/// A session's state under its lock.
pub(super) struct StateLock {
    state: Mutex<State>,
    /// The name of the peer in events.
    pub(super) label: PeerLabel,
    /// The driver has to look at the state before it continues: the session ends or gets another
    /// connection.
    is_interrupted: AtomicBool,
    /// The emits and replies that wait for capacity in the send queue.
    pub(super) capacity: Notify,
    /// The tasks that wait until the session becomes ready, becomes idle or ends.
    pub(super) changed: Notify,
}

/// Access to a session's state.
///
/// While the lock is held, wakes and events are only recorded, because a wake or an event runs user
/// code. When the guard is dropped, it releases the lock, and then runs the wakes and events.
pub(super) struct StateGuard<'a> {
    state: MutexGuard<'a, State>,
    lock: &'a StateLock,
}

/// The wakes and events that the holder of the lock has recorded.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) wake_driver: bool,
    pub(super) notify_capacity: bool,
    pub(super) notify_changed: bool,
    /// The `Notify` of the emitters that wait for capacity in the queue of this session, as a
    /// member of their audience.
    pub(super) emitters: Option<Arc<Notify>>,
    /// Boxed, since most sessions never have events.
    pub(super) events: Option<Box<Events>>,
}

/// Events that a session reports.
#[derive(Default)]
pub(super) struct Events {
    pub(super) unknown_replies: u64,
    pub(super) mismatched_emits: u64,
    pub(super) too_large_emits: u64,
    pub(super) dropped_emits: Vec<(u64, Overflow)>,
}

/// The recorded wakes and events. They run when this value is dropped, outside of the lock.
#[must_use = "drop it when no lock is held"]
pub(super) struct Deferred<'a> {
    lock: &'a StateLock,
    driver: Option<Waker>,
    recorded: Recorded,
}

impl StateLock {
    pub(super) fn new(label: PeerLabel, state: State) -> Self {
        Self {
            state: Mutex::new(state),
            label,
            is_interrupted: AtomicBool::new(false),
            capacity: Notify::new(),
            changed: Notify::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> StateGuard<'_> {
        StateGuard { state: self.state.lock(), lock: self }
    }

    /// Returns `true` if the session may be about to end or to get another connection. This method
    /// does not lock the state.
    #[inline]
    pub(super) fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Acquire)
    }

    /// Records that the driver has looked at the state, which is locked.
    pub(super) fn clear_interruption(&self, state: &State) {
        self.is_interrupted.store(state.is_interrupted(), Ordering::Release);
    }

    /// Returns a value that wakes the driver when it is dropped.
    #[cold]
    pub(super) fn waking_driver(&self) -> Option<Deferred<'_>> {
        let mut state = self.lock();
        state.wake_driver();
        state.unlock()
    }
}

impl<'a> StateGuard<'a> {
    /// Releases the lock, and returns the recorded wakes and events. If the caller holds further
    /// locks, it must release these locks before it drops the returned value. The reason is that
    /// the drop of the value runs user code.
    #[inline]
    pub(super) fn unlock(mut self) -> Option<Deferred<'a>> {
        if self.state.recorded.is_some() { self.take_deferred() } else { None }
    }

    #[cold]
    fn take_deferred(&mut self) -> Option<Deferred<'a>> {
        let recorded = self.state.recorded.take()?;
        if recorded.wake_driver && self.state.is_interrupted() {
            // The driver is woken after the store, so it does not miss the interruption.
            self.lock.is_interrupted.store(true, Ordering::Release);
        }
        // Only a task of tokio polls the driver, so cloning its waker runs no user code.
        let driver = recorded.wake_driver.then(|| self.state.driver.clone());
        Some(Deferred { lock: self.lock, driver, recorded })
    }

    /// Releases the lock, and runs the recorded wakes and events. Then acquires the lock again,
    /// because the drop of the guard releases it. The wakes and events are part of the state, so a
    /// guard needs no field for them. If there are none, as usual, a move or drop of a guard
    /// therefore takes few instructions.
    #[cold]
    #[inline(never)]
    fn run_deferred(&mut self) {
        let deferred = self.take_deferred();
        self.state.unlocked(|| drop(deferred));
    }
}

impl Drop for StateGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.state.recorded.is_some() {
            self.run_deferred();
        }
    }
}

impl Deref for StateGuard<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for StateGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Recorded {
    fn merge(&mut self, other: Self) {
        self.wake_driver |= other.wake_driver;
        self.notify_capacity |= other.notify_capacity;
        self.notify_changed |= other.notify_changed;
        self.emitters = self.emitters.take().or(other.emitters);
        if let Some(other) = other.events {
            self.events().merge(*other);
        }
    }

    pub(super) fn events(&mut self) -> &mut Events {
        self.events.get_or_insert_default()
    }
}

impl Events {
    fn merge(&mut self, mut other: Self) {
        self.unknown_replies += other.unknown_replies;
        self.mismatched_emits += other.mismatched_emits;
        self.too_large_emits += other.too_large_emits;
        self.dropped_emits.append(&mut other.dropped_emits);
    }

    fn send(&self, peer: PeerLabel) {
        let Self { unknown_replies, mismatched_emits, too_large_emits, .. } = *self;
        if unknown_replies > 0 {
            event!(debug, %peer, count = unknown_replies, "received replies to calls that no caller waits for");
        }
        if mismatched_emits > 0 {
            event!(
                debug,
                %peer,
                count = mismatched_emits,
                "dropped emits to a member of an audience that serves their method with another signature"
            );
        }
        if too_large_emits > 0 {
            let count = too_large_emits;
            event!(debug, %peer, count, "dropped emits that are too large for a member of an audience");
        }
        for (count, overflow) in &self.dropped_emits {
            event!(debug, %peer, count, ?overflow, "dropped emits to a member of an audience, since its queue is full");
        }
    }
}

impl Deferred<'_> {
    /// Adds the wakes and events of another holder of the same lock.
    #[inline]
    pub(super) fn merge(into: &mut Option<Self>, other: Option<Self>) {
        if let Some(other) = other {
            Self::merge_recorded(into, other);
        }
    }

    #[cold]
    fn merge_recorded(into: &mut Option<Self>, mut other: Self) {
        if let Some(into) = into {
            into.driver = other.driver.take().or(into.driver.take());
            into.recorded.merge(mem::take(&mut other.recorded));
        } else {
            *into = Some(other);
        }
    }
}

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            wake(driver);
        }
        if self.recorded.notify_capacity {
            self.lock.capacity.notify_waiters();
        }
        if self.recorded.notify_changed {
            self.lock.changed.notify_waiters();
        }
        if let Some(emitters) = self.recorded.emitters.take() {
            emitters.notify_waiters();
        }
        if let Some(events) = self.recorded.events.take() {
            events.send(self.lock.label);
        }
    }
}
