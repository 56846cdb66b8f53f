//! Tests of the handlers of detached sessions. These handlers must not take the runtime's workers
//! from other sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use sockets_proto::{CallId, Frame, name};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    Server, Socket,
    resumption_tests::{TIMEOUT, connect_raw},
};
use crate::{codec::encode, handshake::Resumption, refusal::Refusal};

const CLIENTS: u32 = 8;
/// The time for which a handler blocks its thread.
const BLOCKS: Duration = Duration::from_millis(20);

/// Counts of handlers.
#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    blocking: AtomicUsize,
    max_blocking: AtomicUsize,
    ended: AtomicUsize,
}

/// Waits until a count has reached the number of clients.
async fn reach(count: &AtomicUsize) {
    let waiting = async {
        while count.load(Ordering::Relaxed) < CLIENTS as usize {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TIMEOUT, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_handlers_of_detached_sessions_leave_a_worker() {
    let (counts, go) = (Arc::new(Counts::default()), Arc::new(Semaphore::new(0)));
    let (counting, going) = (Arc::clone(&counts), Arc::clone(&go));
    let server = Server::builder()
        .authenticate(|login: u32| async move { Ok::<_, Refusal>(login) })
        .connected(move |socket: Socket<u32>| {
            let (counts, go) = (Arc::clone(&counting), Arc::clone(&going));
            socket.listen("block", move |(): ()| {
                let (counts, go) = (Arc::clone(&counts), Arc::clone(&go));
                async move {
                    counts.begun.fetch_add(1, Ordering::Relaxed);
                    let _permit = go.acquire().await;
                    let blocking = counts.blocking.fetch_add(1, Ordering::Relaxed) + 1;
                    counts.max_blocking.fetch_max(blocking, Ordering::Relaxed);
                    thread::sleep(BLOCKS);
                    counts.blocking.fetch_sub(1, Ordering::Relaxed);
                    counts.ended.fetch_add(1, Ordering::Relaxed);
                }
            });
            async {}
        })
        .build();
    let mut clients = Vec::new();
    for login in 0..CLIENTS {
        let mut client = connect_raw(&server, login, Resumption::New).await;
        let id = CallId { number: 0, shared: false };
        let request = Frame::Request { id, timeout: 3_600_000, key: name::key("", "block") };
        client.send_with(request, &encode(&()).unwrap()).await;
        clients.push(client);
    }
    reach(&counts.begun).await;
    drop(clients);
    while !server.sockets().iter().all(Socket::is_away) {
        sleep(Duration::from_millis(1)).await;
    }
    go.close();
    reach(&counts.ended).await;
    assert_eq!(counts.max_blocking.load(Ordering::Relaxed), 1, "handlers that blocked at the same time");
}
