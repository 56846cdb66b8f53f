//! Whom to tell of answers, when the session's lock is free again: waking runs code that we do not know.

use std::{cell::Cell, mem, task::Waker};

use super::Member;
use crate::{contain::contain, lock::wake};
use sockets_proto::Answer;

/// A longer list is not kept.
const KEEP: usize = 1024;

thread_local! {
    /// A list's memory: with an empty one, connections that wait hold none.
    static SPARE: Cell<Vec<Notice>> = const { Cell::new(Vec::new()) };
}

/// One who is to be told.
pub(super) enum Notice {
    Wake(Waker),
    Member(Member, Answer),
}

impl Notice {
    #[inline]
    fn give(self) {
        match self {
            Self::Wake(waker) => wake(waker),
            Self::Member(member, answer) => member.answer(answer),
        }
    }
}

/// Those who are to be told. Dropped, it tells them.
pub(crate) struct Notices(Vec<Notice>);

impl Notices {
    pub(crate) fn new() -> Self {
        Self(SPARE.take())
    }

    pub(super) fn add(&mut self, notice: Option<Notice>) {
        self.0.extend(notice);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells them all, one right after the other: a worker that is called to help finds something to do then, and does not
    /// fall asleep between two of them.
    pub(crate) fn give(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut rest = Rest(self.0.drain(..));
        for notice in &mut rest.0 {
            notice.give();
        }
    }
}

/// What is left of a list. If a waker panics, the others are told all the same.
struct Rest<'a>(std::vec::Drain<'a, Notice>);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        for notice in &mut self.0 {
            contain(|| notice.give());
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.give();
        if self.0.capacity() <= KEEP {
            SPARE.set(mem::take(&mut self.0));
        }
    }
}
