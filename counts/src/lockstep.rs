//! Makes two processes alternate, so that each run does the same work.
//!
//! If the kernel scheduled the processes, runs would differ. Batches would depend on preemption,
//! and the length of a time slice on the load of the machine. With this module, a process instead
//! runs until it is idle, and then waits until its peer is idle. Time is virtual: between two time
//! slices, it advances by 1 ms, and within a time slice, it stands still.

use std::{
    future::Future,
    io::{Read, Write, stdin, stdout},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::advance,
};

/// The amount by which the virtual time advances between two time slices of a process.
const STEP: Duration = Duration::from_millis(1);

/// Returns a single-threaded runtime. When the runtime would block, it yields to the peer instead.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).on_thread_park(yield_to_peer);
    builder.build().expect("a runtime starts")
}

/// Blocks until the peer yields or exits.
pub(crate) fn wait_for_peer() {
    // The result is ignored: the end of the pipe is no error, because it means that this process
    // runs alone, without a peer.
    let _ = stdin().read(&mut [0]);
}

/// Yields to the peer. The tools do not count the cost of this function.
#[inline(never)]
fn yield_to_peer() {
    let _ = stdout().write_all(b"\n");
    wait_for_peer();
    // The first poll advances the clock. The poll also defers a waker, so that tokio polls for I/O
    // without blocking. Otherwise tokio would advance the paused clock itself.
    let _ = pin!(advance(STEP)).poll(&mut Context::from_waker(Waker::noop()));
}
