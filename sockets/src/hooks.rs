//! Hooks: user code whose panics are reported and end nothing else.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;

use crate::{
    lock::{assert_unlocked, event},
    session::{PeerLabel, name_of},
};

/// Runs user code, and reports its panic.
pub(crate) fn run<T>(hook: &'static str, peer: PeerLabel, code: impl FnOnce() -> T) -> Option<T> {
    assert_unlocked();
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| report(hook, peer, &*panic)).ok()
}

/// Runs user code that is a future, and reports its panic. `code` is called in the future, too.
pub(crate) async fn run_future<F: Future>(
    hook: &'static str,
    peer: PeerLabel,
    code: impl FnOnce() -> F,
) -> Option<F::Output> {
    let outcome = AssertUnwindSafe(async { code().await }).catch_unwind().await;
    outcome.map_err(|panic| report(hook, peer, &*panic)).ok()
}

/// Reports the panic of a hook.
pub(crate) fn report(hook: &'static str, peer: PeerLabel, panic: &(dyn Any + Send)) {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref().map(String::as_str));
    let (side, message) = (name_of(peer.own_side()), message.unwrap_or("the panic has no message"));
    event!(error, hook, %peer, side, panic = message, "a hook panicked");
}
