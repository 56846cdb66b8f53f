//! The handler or hook that runs on this thread.

use std::{cell::Cell, sync::Arc};

use sockets_proto::CallOrigin;

thread_local! {
    static RUNS_HANDLER: Cell<bool> = const { Cell::new(false) };
    /// The address of the session of the running handler or hook, or 0.
    static SESSION: Cell<usize> = const { Cell::new(0) };
}

/// Runs a step of a handler of this session.
pub(crate) fn run_handler<S, T>(session: &Arc<S>, step: impl FnOnce() -> T) -> T {
    /// Restores the mark, also if the step panics.
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
    struct Reset(usize);
    impl Drop for Reset {
        fn drop(&mut self) {
            SESSION.set(self.0);
        }
    }
    let _reset = Reset(SESSION.replace(Arc::as_ptr(session).addr()));
    step()
}

/// Returns `true` if a handler or hook of this session runs on this thread. It must not wait for
/// the end of the session.
pub(crate) fn runs_here<S>(session: &Arc<S>) -> bool {
    SESSION.get() == Arc::as_ptr(session).addr()
}

/// Returns the origin of calls that are made on this thread.
pub(crate) fn call_origin() -> CallOrigin {
    if RUNS_HANDLER.get() { CallOrigin::Handler } else { CallOrigin::Other }
}

/// Lets another worker run the task that has just been woken, if a handler woke it.
///
/// A worker of tokio keeps the last task that it has woken in its LIFO slot, from which other
/// workers cannot steal. If the handler then blocks its thread, that task waits with it. Spawning a
/// further task moves it from the slot to the run queue, from which other workers can steal.
pub(crate) fn release_lifo_slot() {
    if RUNS_HANDLER.get() {
        tokio::spawn(std::future::ready(()));
    }
}

/// Wakes another worker, before this one may be blocked.
///
/// One worker at a time polls for I/O, and the others sleep without it. If this worker did, and now runs a handler that
/// blocks it, no worker would notice I/O until the handler ends. A worker that is woken without work polls for I/O.
pub(crate) fn wake_another_worker() {
    // The first task goes to the slot from which no worker can steal. The second one moves it to the queue, and that
    // wakes a worker.
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
                // The worker is blocked until another one has received.
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
