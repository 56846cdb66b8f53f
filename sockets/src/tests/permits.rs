//! Sessions that wait for a permit because their handlers were slow.

use std::{future::ready, sync::mpsc, thread, time::Duration};

use tokio::{
    runtime::Builder,
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
