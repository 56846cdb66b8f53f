//! Whether this thread runs a handler, and what follows from that.

use std::cell::Cell;

use sockets_proto::Caller;

thread_local! {
    static RUNS_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step of a handler.
pub(crate) fn run_handler<T>(step: impl FnOnce() -> T) -> T {
    /// Also when the step panics.
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            RUNS_HANDLER.set(self.0);
        }
    }
    let _reset = Reset(RUNS_HANDLER.replace(true));
    step()
}

/// Who calls, on this thread.
pub(super) fn caller() -> Caller {
    if RUNS_HANDLER.get() { Caller::Handler } else { Caller::Other }
}

/// Lets another worker run the task that has just been woken, if a handler woke it.
///
/// A worker keeps the last task that it has woken for itself, in a slot from which nobody can steal. If the handler then
/// blocks its thread, that task waits with it. One more task pushes it out of the slot, to where others find it.
pub(crate) fn share_woken_task() {
    if RUNS_HANDLER.get() {
        tokio::spawn(std::future::ready(()));
    }
}
