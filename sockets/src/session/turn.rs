//! The results of the handlers that the driver runs between two accesses to its session.

use std::{cell::RefCell, time::Instant};

use serde::Serialize;
use sockets_proto::{CallId, ReplyError, TurnResults, WindowPermit, codec::SHARE_FROM};

use super::Session;
use crate::lock::assert_unlocked;

thread_local! {
    /// The results of the turn that runs on this thread. Their memory is reused by later turns.
    static CURRENT: RefCell<Current> = RefCell::default();
}

#[derive(Default)]
struct Current {
    /// The address of the session, or 0 if no turn runs.
    session: usize,
    results: TurnResults,
    /// The longest frame that the peer accepts, in bytes.
    max_frame: usize,
    /// The keys of methods that have returned long replies.
    long: Vec<u64>,
}

/// The way in which the handlers of a turn end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultsOf {
    /// They lock the session, because the session is detached or unknown to be attached.
    Session,
    /// They will add their results to the thread, once a handler starts.
    NextHandler,
    /// They add their results to the thread.
    Thread,
}

/// A turn of a driver: it accepts frames, runs handlers, and settles their results.
///
/// After [`enter`](Self::enter), the handlers that end in their first poll add their results to the
/// thread instead of locking the session.
pub(crate) struct Turn {
    pub(super) began: Instant,
    /// The session delays its writes to the end of the turn.
    pub(super) is_open: bool,
    pub(super) results: ResultsOf,
    /// Calls may start.
    pub(super) can_dispatch: bool,
    /// The number of bytes of replies after which the turn ends.
    pub(super) capacity: usize,
    /// The longest frame that the peer accepts, in bytes.
    pub(super) max_frame: usize,
}

impl Turn {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            began,
            is_open: false,
            results: ResultsOf::Session,
            can_dispatch: false,
            capacity: usize::MAX,
            max_frame: 0,
        }
    }

    /// Returns `true` if the session delays its writes to the end of the turn.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Lets handlers add their results to the thread, unless another turn runs on it. This happens,
    /// for example, if a handler blocks on a future.
    #[inline]
    pub(crate) fn enter(&mut self, session: &Session) {
        if self.results == ResultsOf::NextHandler {
            let entered = CURRENT.with(|current| match current.try_borrow_mut() {
                Ok(mut current) if current.session == 0 => {
                    (current.session, current.max_frame) = (address(session), self.max_frame);
                    true
                }
                _ => false,
            });
            self.results = if entered { ResultsOf::Thread } else { ResultsOf::Session };
        }
    }

    /// Returns `true` if calls may start: the session has capacity for replies, and its local
    /// endpoint does not end it.
    #[inline]
    pub(crate) fn can_dispatch(&self, session: &Session) -> bool {
        self.can_dispatch && !session.is_interrupted()
    }

    /// Returns `true` if the replies fill the queue of the session. The driver then ends the turn.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.results == ResultsOf::Thread
            && CURRENT.with_borrow(|current| {
                let length = current.results.len();
                length > 0 && length >= self.capacity
            })
    }

    /// Ends the turn. If there are results, passes them to `settle`, with the keys of methods that
    /// have returned long replies. `settle` runs no user code.
    #[inline]
    pub(super) fn end(&mut self, settle: impl FnOnce(&mut TurnResults, &mut Vec<u64>)) {
        self.is_open = false;
        if self.results == ResultsOf::Thread {
            CURRENT.with_borrow_mut(|current| {
                current.session = 0;
                if !current.results.is_empty() {
                    settle(&mut current.results, &mut current.long);
                }
            });
        }
        self.results = ResultsOf::Session;
    }
}

impl Drop for Turn {
    /// Discards the results if the driver panics. They are lost with the session.
    fn drop(&mut self) {
        if self.results == ResultsOf::Thread {
            CURRENT.set(Current::default());
        }
    }
}

fn address(session: &Session) -> usize {
    std::ptr::from_ref(session).addr()
}

/// Adds the reply to a request to the turn of this thread. Returns `None` if no turn of this session
/// runs on this thread.
#[inline]
pub(super) fn reply<R: Serialize>(
    session: &Session,
    key: u64,
    id: CallId,
    permit: WindowPermit,
    reply: &R,
) -> Option<Result<(), ReplyError>> {
    assert_unlocked();
    CURRENT.with(|current| {
        // The results are borrowed while the `Serialize` of another reply calls this function.
        let mut current = current.try_borrow_mut().ok().filter(|current| current.session == address(session))?;
        let max_frame = current.max_frame;
        let length = current.results.reply(id, permit, reply, max_frame);
        Some(length.map(|length| {
            if length >= SHARE_FROM {
                current.long.push(key);
            }
        }))
    })
}

/// Adds the end of an emit to the turn of this thread. Returns `false` if no turn of this session
/// runs on this thread.
#[inline]
pub(super) fn end_emit(session: &Session, permit: WindowPermit) -> bool {
    // A thread that ends may drop a runtime, with its handlers, after its thread-local values.
    let added = CURRENT.try_with(|current| {
        let Ok(mut current) = current.try_borrow_mut() else { return false };
        let is_current = current.session == address(session);
        if is_current {
            current.results.end_emit(permit);
        }
        is_current
    });
    added.unwrap_or(false)
}
