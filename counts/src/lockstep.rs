//! Two processes that run in turns, so that their work is the same in every run.
//!
//! Left to the kernel, the size of a batch depends on when a process is preempted, and a turn that ends by time depends
//! on how busy the machine is. Here a process runs until it has nothing left to do, and then waits for its peer to do
//! the same. Time is virtual: it stands still within a turn and advances by one millisecond between two turns.

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

/// How far time advances between two turns of a process.
const TURN: Duration = Duration::from_millis(1);

/// Returns a runtime of one thread that yields to the peer whenever it would block.
pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).on_thread_park(hand_over);
    builder.build().expect("a runtime of one thread starts")
}

/// Blocks until the peer ends its turn, or exits.
pub(crate) fn wait_for_turn() {
    // Without a peer there are no turns, so the end of the pipe is no error.
    let _ = stdin().read(&mut [0]);
}

/// Lets the peer have a turn. The tools do not count what happens in here.
#[inline(never)]
fn hand_over() {
    let _ = stdout().write_all(b"\n");
    wait_for_turn();
    // The first poll moves the clock. It also defers a waker, so tokio polls for I/O without blocking, and leaves the
    // paused clock alone.
    let _ = pin!(advance(TURN)).poll(&mut Context::from_waker(Waker::noop()));
}
