//! Contains panics of user code.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::lock::event;

/// Runs user code, such as the drop of a value or a waker. If the code panics, the function logs
/// the panic and does not propagate it.
pub(crate) fn contain(code: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(code)) else { return };
    event!(error, "a value of the user panicked while it was dropped or woken");
    // Dropping the payload runs user code, too.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
}
