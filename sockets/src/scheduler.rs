//! Workarounds for the scheduling of tokio.
//!
//! Three properties of tokio require these functions:
//!
//! - If a task wakes itself, its worker runs this task before tasks for which I/O has arrived.
//! - A worker keeps the last task that it has woken, and does not share it with other workers.
//! - A budget limits the number of operations of a task.
//!
//! No other code of the library depends on these properties.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{coop, unconstrained, yield_now},
};

/// The maximum time for which a task waits for [`wake_after_others`].
///
/// A handler may block the worker on which the task waits. Because of this maximum, another worker
/// can then run the task.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// Wakes this task after all ready tasks and all tasks for which I/O has arrived.
///
/// If a task wakes itself directly, it runs before the tasks for which I/O has arrived. The reason
/// is that tokio polls for I/O only once in 61 polls of tasks. A peer that sends frames without end
/// would then delay the other connections. `tests/tests/fairness.rs`, `tests/tests/floods.rs` and
/// the tests of WebSocket misuse show the need.
pub(crate) fn wake_after_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

/// Lets other tasks of this worker run.
///
/// If the task of a shard does not yield, a broadcast to a room takes up to 40 times as long. See
/// the findings in benches/README.md.
pub(crate) async fn yield_to_others() {
    yield_now().await;
}

/// Yields if this task has used its budget.
///
/// An emit to a room rarely waits, so an emitter in a loop would otherwise occupy its worker.
/// Without this function, `loop_of_emits_to_an_audience_lets_other_tasks_run` in
/// `sockets/src/tests/scheduling.rs` fails.
pub(crate) async fn consume_budget() {
    coop::consume_budget().await;
}

/// Polls a future without the budget of the current task.
///
/// With a budget, I/O and channels return pending after 128 operations, even if they are ready. In
/// a large batch, a handler that is ready would then appear suspended and get a task of its own. A
/// writer would stop, as if its connection were blocked. Without this function,
/// `ready_handlers_of_a_large_batch_do_not_suspend` in `sockets/src/tests/scheduling.rs` fails.
pub(crate) fn poll_unconstrained<F: Future>(future: F, cx: &mut Context<'_>) -> Poll<F::Output> {
    pin!(unconstrained(future)).poll(cx)
}

/// Lets another worker run the task that this worker has just woken.
///
/// A worker keeps the woken task in its LIFO slot, from which other workers cannot steal it. If the
/// current handler then blocks its thread, the woken task waits for the handler. To prevent this,
/// the function spawns a further task, which pushes the woken task out of the slot. Without this
/// function, two tests in `tests/tests/suite/slow_peers.rs` fail:
/// `emit_before_blocking_reaches_another_socket` and `emit_before_blocking_reaches_a_room`.
pub(crate) fn release_lifo_slot() {
    tokio::spawn(std::future::ready(()));
}

/// Wakes another worker before a handler may block this worker.
///
/// A single worker polls for I/O, and the other idle workers sleep. If the polling worker runs a
/// handler that blocks, no worker notices I/O until the handler ends. This function prevents that,
/// because a woken worker that finds no task polls for I/O. Without this function, the test of this
/// module fails. See also [tokio#4730](https://github.com/tokio-rs/tokio/issues/4730).
pub(crate) fn wake_another_worker() {
    if Handle::current().metrics().num_workers() == 1 {
        return;
    }
    // Spawn two tasks. The first task takes the LIFO slot, which wakes no worker. The second task
    // moves the first task from the slot to the run queue, which wakes a worker.
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
                // This worker is blocked until another worker has received the datagram.
                received.recv_timeout(Duration::from_secs(10))
            });
            runtime.spawn(async move {
                other.recv(&mut [0]).await.unwrap();
                send_received.send(()).unwrap();
            });
            // After 20 ms, both workers are idle. If a worker were still busy, the test would pass
            // even without the tested function.
            std::thread::sleep(Duration::from_millis(20));
            sender.send_to(&[1], blocking_address).unwrap();
            started.recv().unwrap();
            sender.send_to(&[1], other_address).unwrap();
            runtime.block_on(blocked).unwrap().expect("no worker polled for I/O while one was blocked");
        }
    }
}
