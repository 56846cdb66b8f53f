//! Functions that wait for conditions.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

/// The longest time for which a test waits for a condition.
///
/// This time is shorter than the timeouts of `Limits::default()`, so that a test fails if it waits
/// for such a timeout by mistake.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Awaits a future, and fails after [`PATIENCE`].
pub async fn within<F: Future>(future: F) -> F::Output {
    within_time(PATIENCE, future).await
}

/// Awaits a future, and fails after this time.
pub async fn within_time<F: Future>(limit: Duration, future: F) -> F::Output {
    timeout(limit, future).await.expect("the future is ready in time")
}

/// Waits until a condition holds, and fails after [`PATIENCE`].
pub async fn eventually(condition: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {condition}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Fails if a future is ready now. This function does not wait. So before the call, the test must
/// have caused every event that could make the future ready.
pub async fn never<F: Future>(event: &str, future: F) {
    let mut future = pin!(future);
    let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
    assert!(!ready, "unexpected: {event}");
}

/// Polls a future once. If the future is a call, the poll sends the call.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
