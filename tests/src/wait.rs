//! Waiting for what happens elsewhere.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

/// Waits until it is so, and fails after ten seconds.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never comes to this: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails if the future is ready now. The tests bring about beforehand whatever could have made it so.
pub async fn never<F: Future>(what: &str, future: F) {
    let mut future = pin!(future);
    let ready = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
    assert!(!ready, "it must not come to this: {what}");
}
