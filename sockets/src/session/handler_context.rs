//! Whether this thread runs a handler, and what follows from that.

use std::{cell::Cell, sync::Arc};

use sockets_proto::CallOrigin;

use super::Session;

thread_local! {
    static RUNS_HANDLER: Cell<bool> = const { Cell::new(false) };
    /// The address of the session whose handler or hook runs, or 0.
    static SESSION: Cell<usize> = const { Cell::new(0) };
}

/// Runs a step of a handler of this session.
pub(crate) fn run_handler<T>(session: &Arc<Session>, step: impl FnOnce() -> T) -> T {
    /// Also when the step panics.
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            RUNS_HANDLER.set(self.0);
        }
    }
    let _reset = Reset(RUNS_HANDLER.replace(true));
    run_hook(session, step)
}

/// Runs a step of a hook of this session.
pub(crate) fn run_hook<T>(session: &Arc<Session>, step: impl FnOnce() -> T) -> T {
    struct Reset(usize);
    impl Drop for Reset {
        fn drop(&mut self) {
            SESSION.set(self.0);
        }
    }
    let _reset = Reset(SESSION.replace(Arc::as_ptr(session).addr()));
    step()
}

impl Session {
    /// Returns `true` if a handler or hook of this session runs on this thread: it must not wait for the session's end.
    pub(crate) fn runs_here(self: &Arc<Self>) -> bool {
        SESSION.get() == Arc::as_ptr(self).addr()
    }
}

/// Who calls, on this thread.
pub(super) fn call_origin() -> CallOrigin {
    if RUNS_HANDLER.get() { CallOrigin::Handler } else { CallOrigin::Other }
}

/// Lets another worker run the task that has just been woken, if a handler woke it.
///
/// A worker keeps the last task that it has woken for itself, in a slot from which nobody can steal. If the handler then
/// blocks its thread, that task waits with it. One more task pushes it out of the slot, to where others find it.
pub(crate) fn release_lifo_slot() {
    if RUNS_HANDLER.get() {
        tokio::spawn(std::future::ready(()));
    }
}
