//! Workarounds for the scheduling of tokio.
//!
//! A worker of tokio runs a task that wakes itself before tasks for which I/O has arrived, keeps the
//! last task that it has woken to itself, and limits the operations of a task by a budget. These
//! functions are the only places that depend on this.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::{coop, unconstrained, yield_now};

/// The maximum wait for [`wake_after_others`].
///
/// Its worker may be blocked meanwhile while another worker is idle.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Wakes this task after all ready tasks and all tasks for which I/O has arrived.
///
/// A task that wakes itself directly runs before the latter: tokio polls for I/O only once in 61 polls
/// of tasks. `tests/tests/fairness.rs` and fault 39 of RELIABILITY.md show the need.
pub(crate) fn wake_after_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

/// Lets other tasks of this worker run.
///
/// A shard of a room that does not yield slows the room down by a factor of up to 40, see the findings
/// in benches/README.md.
pub(crate) async fn yield_to_others() {
    yield_now().await;
}

/// Yields if this task has used its budget.
///
/// An emitter in a loop would otherwise occupy its worker, since an emit to a room rarely waits.
pub(crate) async fn consume_budget() {
    coop::consume_budget().await;
}

/// Polls a future without the budget of the current task.
///
/// With a budget, I/O and channels pretend not to be ready after 128 operations. A handler that is
/// ready would get a task of its own in the middle of a batch, and a writer would stop.
pub(crate) fn poll_unconstrained<F: Future>(future: F, cx: &mut Context<'_>) -> Poll<F::Output> {
    pin!(unconstrained(future)).poll(cx)
}

/// Lets another worker run the task that this worker has just woken.
///
/// A worker keeps that task in its LIFO slot, from which other workers cannot steal. If the current
/// handler then blocks its thread, the task waits for it. A further task pushes it out of the slot.
/// Without this, `emit_before_blocking_reaches_another_socket` and
/// `emit_before_blocking_reaches_a_room` in `tests/tests/suite/slow_peers.rs` fail.
pub(crate) fn release_lifo_slot() {
    tokio::spawn(std::future::ready(()));
}

/// Wakes another worker, before this worker may be blocked by a handler.
///
/// A single worker polls for I/O, and other idle workers sleep without it. If the worker that polled
/// runs a blocking handler, no worker would notice I/O until the handler ends. A worker that is woken
/// without work polls for I/O. The test of this module fails without it; see also
/// [tokio#4730](https://github.com/tokio-rs/tokio/issues/4730).
pub(crate) fn wake_another_worker() {
    // The first task takes the LIFO slot. The second task moves it to the run queue, which wakes a
    // worker.
    for _ in 0..2 {
        tokio::spawn(std::future::ready(()));
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, sync::mpsc, time::Duration};

    use super::*;

    /// A socket of tokio's and the address that wakes its reader.
    fn socket() -> (tokio::net::UdpSocket, std::net::SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (tokio::net::UdpSocket::from_std(socket).unwrap(), address)
    }

    #[test]
    fn blocked_worker_leaves_polling_for_io_to_another() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let _context = runtime.enter();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10 {
            let ((blocking, blocking_address), (other, other_address)) = (socket(), socket());
            let (send_started, started) = mpsc::channel();
            let (send_received, received) = mpsc::channel();
            let blocked = runtime.spawn(async move {
                blocking.recv(&mut [0]).await.unwrap();
                wake_another_worker();
                send_started.send(()).unwrap();
                // The worker is blocked until another has received.
                received.recv_timeout(Duration::from_secs(10))
            });
            runtime.spawn(async move {
                other.recv(&mut [0]).await.unwrap();
                send_received.send(()).unwrap();
            });
            // Both workers are idle by then. Otherwise the test passes without a reason.
            std::thread::sleep(Duration::from_millis(20));
            sender.send_to(&[1], blocking_address).unwrap();
            started.recv().unwrap();
            sender.send_to(&[1], other_address).unwrap();
            runtime.block_on(blocked).unwrap().expect("no worker polled for I/O while one was blocked");
        }
    }
}
