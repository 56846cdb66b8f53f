//! A short soak with few clients and many faults.
//!
//! The soak has a process of its own, since it counts the open files and tasks of the process.

use std::time::Duration;

use sockets_tests::soak::{Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_soak_loses_no_message_and_leaks_nothing() {
    let report = run(Plan {
        clients: 60,
        time: Duration::from_secs(4),
        pause: Duration::from_millis(30),
        relays: 6,
        fault_every: Duration::from_millis(50),
    })
    .await;
    assert!(report.faults > 40, "{report:?}");
}
