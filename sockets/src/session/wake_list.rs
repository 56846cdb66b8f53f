//! Wake-ups for results. They run without the lock of the session, since a waker may run any code.

use std::{mem, task::Waker};

use super::MultiCallSlot;
use crate::{hooks::contain, lock::wake, thread_cache::ThreadCache};
use sockets_proto::CallResult;

/// Maximum capacity of a list that the thread keeps. The memory of a larger list is released.
const KEEP: usize = 1024;

thread_local! {
    /// The memory of a list. It belongs to the thread, so that idle connections hold none.
    static SPARE: ThreadCache<Vec<Wakeup>, 1> = const { ThreadCache::new() };
}

/// Wakes the consumer of a result.
pub(super) enum Wakeup {
    Wake(Waker),
    Member(MultiCallSlot, CallResult),
}

impl Wakeup {
    #[inline]
    fn run(self) {
        match self {
            Self::Wake(waker) => wake(waker),
            Self::Member(member, result) => member.complete(result),
        }
    }
}

/// A list of wake-ups. When the list is dropped, it runs the wake-ups.
pub(crate) struct WakeList(Vec<Wakeup>);

impl WakeList {
    pub(crate) fn new() -> Self {
        Self(SPARE.with(ThreadCache::take).unwrap_or_default())
    }

    pub(super) fn add(&mut self, wakeup: Option<Wakeup>) {
        self.0.extend(wakeup);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs all wake-ups without a pause. With pauses, a worker that is woken to help could find no
    /// task and sleep again between two wake-ups.
    pub(crate) fn wake_all(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut remaining = Remaining(self.0.drain(..));
        for wakeup in &mut remaining.0 {
            wakeup.run();
        }
    }
}

/// The remaining wake-ups. They run even if a waker panics.
struct Remaining<'a>(std::vec::Drain<'a, Wakeup>);

impl Drop for Remaining<'_> {
    fn drop(&mut self) {
        for wakeup in &mut self.0 {
            contain(|| wakeup.run());
        }
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        self.wake_all();
        if self.0.capacity() <= KEEP {
            SPARE.with(|spare| spare.put(mem::take(&mut self.0)));
        }
    }
}
