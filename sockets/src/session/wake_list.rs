//! Notices of answers, which are delivered without the lock of the session: a waker may run any
//! code.

use std::{cell::Cell, mem, task::Waker};

use super::MultiCallSlot;
use crate::{contain::contain, lock::wake};
use sockets_proto::CallResult;

/// The capacity up to which the memory of a list is kept.
const KEEP: usize = 1024;

thread_local! {
    /// The memory of a list. It belongs to the thread, so that waiting connections hold none.
    static SPARE: Cell<Vec<Wakeup>> = const { Cell::new(Vec::new()) };
}

/// A caller or member that is notified of an answer.
pub(super) enum Wakeup {
    Wake(Waker),
    Member(MultiCallSlot, CallResult),
}

impl Wakeup {
    #[inline]
    fn give(self) {
        match self {
            Self::Wake(waker) => wake(waker),
            Self::Member(member, answer) => member.complete(answer),
        }
    }
}

/// A list of notices. They are delivered when it is dropped.
pub(crate) struct WakeList(Vec<Wakeup>);

impl WakeList {
    pub(crate) fn new() -> Self {
        Self(SPARE.take())
    }

    pub(super) fn add(&mut self, notice: Option<Wakeup>) {
        self.0.extend(notice);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Delivers all notices without a pause. A worker that is woken to help then finds tasks, and
    /// does not sleep between two notices.
    pub(crate) fn wake_all(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut rest = Rest(self.0.drain(..));
        for notice in &mut rest.0 {
            notice.give();
        }
    }
}

/// The notices that are left. They are delivered even if a waker panics.
struct Rest<'a>(std::vec::Drain<'a, Wakeup>);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        for notice in &mut self.0 {
            contain(|| notice.give());
        }
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        self.wake_all();
        if self.0.capacity() <= KEEP {
            SPARE.set(mem::take(&mut self.0));
        }
    }
}
