//! Runs hooks and other user code. A panic of this code is reported and does not propagate.

use std::{
    any::Any,
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    lock::{assert_unlocked, event},
    peer_label::PeerLabel,
};

/// Runs user code, and reports a panic.
pub(crate) fn run<T>(hook: &'static str, peer: PeerLabel, code: impl FnOnce() -> T) -> Option<T> {
    assert_unlocked();
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| report(hook, peer, &*panic)).ok()
}

/// Returns a future that runs user code and reports a panic. The future calls `code` when it is
/// first polled.
pub(crate) fn run_future<C, F>(hook: &'static str, peer: PeerLabel, code: C) -> Running<C, F>
where
    C: FnOnce() -> F,
    F: Future + Unpin,
{
    Running { hook, peer, code: Some(code), future: None }
}

/// Runs a future of user code, and reports a panic of the future. The future may panic when it is
/// polled, or when it is dropped before completion, for example after a timeout.
pub(crate) struct Running<C, F> {
    hook: &'static str,
    peer: PeerLabel,
    code: Option<C>,
    future: Option<F>,
}

// `code` is called by value, and the future is `Unpin`.
impl<C, F> Unpin for Running<C, F> {}

impl<C: FnOnce() -> F, F: Future + Unpin> Future for Running<C, F> {
    /// The output of the user's future, or `None` after a panic.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { hook, peer, code, future } = &mut *self;
        let poll = || {
            if let Some(code) = code.take() {
                *future = Some(code());
            }
            future.as_mut().map_or(Poll::Pending, |future| Pin::new(future).poll(cx))
        };
        match run(hook, *peer, poll) {
            Some(polled) => polled.map(Some),
            None => Poll::Ready(None),
        }
    }
}

impl<C, F> Drop for Running<C, F> {
    fn drop(&mut self) {
        let held = (self.code.take(), self.future.take());
        run(self.hook, self.peer, || drop(held));
    }
}

/// Logs the panic of a hook.
pub(crate) fn report(hook: &'static str, peer: PeerLabel, panic: &(dyn Any + Send)) {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref().map(String::as_str));
    let (side, message) = (peer.own_role(), message.unwrap_or("the panic has no message"));
    event!(error, hook, %peer, %side, panic = message, "a hook panicked");
}

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
