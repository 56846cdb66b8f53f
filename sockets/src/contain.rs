//! Containing the panics of a user's code.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::lock::event;

/// Runs a user's code, such as the drop of a value or a waker. Its panic is logged, and ends here.
pub(crate) fn contain(code: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(code)) else { return };
    event!(error, "a value of the user panicked while it was dropped or woken");
    // The payload is the user's, too.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
}
