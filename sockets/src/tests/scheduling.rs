//! The scheduling of tasks: permits of slow sessions, and the budget of tokio.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{Client, Limits, Server, Socket, session::SlowPermit};

/// Makes two calls at a limited rate to a slow session. During the second call, a handler of
/// another session holds the only permit.
async fn call_with_rate_limit_without_permit() {
    let limits = Limits::new().calls_per_second(1);
    let connected = |socket: Socket| {
        socket.listen("called", |()| ready(()));
        ready(())
    };
    let server = Server::builder().connected(connected).limits(limits).build();
    let client = Client::builder().connect_local(&server).await.expect("a client");
    let socket = server.sockets().remove(0);
    let call = || client.request::<()>("called", &());
    let began = Instant::now();
    assert_eq!(call().await, Ok(()));
    let hold = async {
        sleep(Duration::from_millis(950)).await;
        let now = Instant::now().into_std();
        socket.session().record_poll(now, now + Duration::from_millis(2));
        let _permit = SlowPermit::try_acquire().expect("a permit");
        sleep(Duration::from_secs(1)).await;
    };
    let (called, ()) = tokio::join!(call(), hold);
    assert_eq!(called, Ok(()));
    assert!(began.elapsed() >= Duration::from_secs(1), "the call was delayed by the rate limit");
}

/// The paused clock of the runtime advances only while no task runs.
#[test]
fn rate_limited_driver_that_waits_for_a_permit_sleeps() {
    let (send_end, end) = mpsc::channel();
    let runs = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            timeout(Duration::from_secs(10), call_with_rate_limit_without_permit()).await.expect("the calls complete");
        });
        let _ = send_end.send(());
    });
    let ended = end.recv_timeout(Duration::from_secs(20));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "the driver wakes itself while it waits");
    runs.join().expect("the calls complete without a panic");
}

/// An emit to an audience without members never waits.
#[tokio::test]
async fn loop_of_emits_to_an_audience_lets_other_tasks_run() {
    let server = Server::builder().build();
    let other = tokio::spawn(async {});
    for _ in 0..1000 {
        server.all().emit("tick", &()).await.expect("an emit without receivers");
    }
    assert!(other.is_finished(), "another task has run during the loop");
}

/// The clock is paused, so a single time slice handles all emits. Each handler uses up a part of
/// the budget.
#[tokio::test(start_paused = true)]
async fn ready_handlers_of_a_large_batch_do_not_suspend() {
    const EMITS: u32 = 500;
    let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let (started, ended, overlapping) = <(Arc<AtomicU32>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
    let (ends, overlaps) = (Arc::clone(&ended), Arc::clone(&overlapping));
    let server = Server::builder().build();
    let client = Client::builder().connect_local(&server).await.expect("a client");
    server.sockets()[0].listen("tick", move |()| {
        let (permits, ended) = (Arc::clone(&permits), Arc::clone(&ends));
        if started.fetch_add(1, Ordering::Relaxed) != ended.load(Ordering::Relaxed) {
            overlaps.fetch_add(1, Ordering::Relaxed);
        }
        async move {
            permits.acquire().await.expect("a permit").forget();
            ended.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..EMITS {
        client.emit("tick", &()).await.expect("an emit");
    }
    assert_eq!(client.request::<()>("tick", &()).await.map(drop), Ok(()));
    assert_eq!((ended.load(Ordering::Relaxed), overlapping.load(Ordering::Relaxed)), (EMITS + 1, 0));
}
