//! The handler or hook that runs on this thread.

use std::{cell::Cell, sync::Arc};

use sockets_proto::CallOrigin;

use crate::scheduler::release_lifo_slot;

thread_local! {
    static RUNS_HANDLER: Cell<bool> = const { Cell::new(false) };
    /// The address of the session of the running handler or hook, or 0.
    static SESSION: Cell<usize> = const { Cell::new(0) };
}

/// Runs a step of a handler of this session.
pub(crate) fn run_handler<S, T>(session: &Arc<S>, step: impl FnOnce() -> T) -> T {
    /// Restores the mark of this thread, even if the step panics.
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
pub(crate) fn run_hook<S, T>(session: &Arc<S>, step: impl FnOnce() -> T) -> T {
    let _context = HookContext::enter(session);
    step()
}

/// Marks the code that runs on this thread as a hook of a session, until this value is dropped.
#[must_use]
pub(crate) struct HookContext(usize);

impl HookContext {
    pub(crate) fn enter<S>(session: &Arc<S>) -> Self {
        Self(SESSION.replace(Arc::as_ptr(session).addr()))
    }
}

impl Drop for HookContext {
    fn drop(&mut self) {
        SESSION.set(self.0);
    }
}

/// Returns `true` if a handler or hook of this session runs on this thread. Such a handler or hook
/// must not wait for the end of the session.
pub(crate) fn runs_here<S>(session: &S) -> bool {
    SESSION.get() == std::ptr::from_ref(session).addr()
}

/// Returns the origin of calls that are made on this thread.
pub(crate) fn call_origin() -> CallOrigin {
    if RUNS_HANDLER.get() { CallOrigin::Handler } else { CallOrigin::Other }
}

/// Lets another worker run the task that a handler on this thread has just woken. Otherwise the
/// woken task would have to wait for the handler if the handler blocks its thread. Does nothing if
/// no handler runs on this thread.
pub(crate) fn release_woken_task() {
    if RUNS_HANDLER.get() {
        release_lifo_slot();
    }
}
