//! A server with few workers serves all clients, although the handlers of some clients block its
//! threads.
//!
//! These tests have a process of their own and run in sequence, since they compare how much
//! processor time each client gets.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use sockets::{Client, Server};
use sockets_tests::eventually;
use tokio::{
    runtime::Builder,
    sync::{Mutex, oneshot},
    task::{JoinHandle, block_in_place, yield_now},
    time::timeout,
};

/// The time for which a handler blocks its thread.
const BLOCKS: Duration = Duration::from_millis(30);
const ATTACKERS: usize = 4;
/// The number of started handlers after which the test compares the attackers' shares of the
/// workers.
const COMPARED: usize = 100;
/// The number of calls that an attacker has in flight.
const IN_FLIGHT: usize = 64;
/// The number of calls by the client that does not attack.
const CALLS: usize = 60;

/// A test locks this mutex while it runs, since the test needs the machine for itself.
static ALONE: Mutex<()> = Mutex::const_new(());

#[sockets::group("Fair")]
trait Fair {
    async fn echo(&self) -> bool;
    async fn block(&self, attacker: usize);
    async fn suspend_and_block(&self, attacker: usize);
    async fn block_in_place(&self, attacker: usize);
}

#[derive(Clone, Default)]
struct Blocking {
    /// The number of blocking handlers that the server has started for each attacker.
    started: Arc<[AtomicUsize; ATTACKERS]>,
    /// `true` if the handlers of `block_in_place` may end.
    released: Arc<AtomicBool>,
}

impl Blocking {
    fn block_for(&self, attacker: usize) {
        self.started[attacker].fetch_add(1, Ordering::Relaxed);
        thread::sleep(BLOCKS);
    }

    fn counts(&self) -> [usize; ATTACKERS] {
        std::array::from_fn(|attacker| self.started[attacker].load(Ordering::Relaxed))
    }

    fn total(&self) -> usize {
        self.counts().into_iter().sum()
    }
}

impl Fair for Blocking {
    async fn echo(&self) -> bool {
        true
    }

    async fn block(&self, attacker: usize) {
        self.block_for(attacker);
    }

    async fn suspend_and_block(&self, attacker: usize) {
        yield_now().await;
        self.block_for(attacker);
    }

    async fn block_in_place(&self, attacker: usize) {
        self.started[attacker].fetch_add(1, Ordering::Relaxed);
        block_in_place(|| {
            while !self.released.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// A server on a runtime of its own, with a given number of workers.
struct Rig {
    blocking: Blocking,
    server: Server,
    _stop: mpsc::Sender<()>,
}

impl Rig {
    async fn start(workers: usize) -> Self {
        let blocking = Blocking::default();
        let builder = Server::builder().serve(FairServer::new(blocking.clone()));
        let (send_server, server) = oneshot::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
            send_server.send(runtime.block_on(builder.bind("tcp://127.0.0.1:0")).unwrap()).unwrap();
            // The runtime lives until the test ends.
            let _ = stopped.recv();
            runtime.shutdown_background();
        });
        Self { blocking, server: server.await.unwrap(), _stop: stop }
    }

    async fn client(&self) -> Client {
        Client::builder().connect(&format!("tcp://{}", self.server.local_addr())).await.unwrap()
    }

    /// Starts the attackers. Each attacker always has `in_flight` calls in flight.
    async fn attack(&self, in_flight: usize, suspends: bool) -> Vec<JoinHandle<()>> {
        let mut attacks = Vec::new();
        for attacker in 0..ATTACKERS {
            let client = self.client().await;
            attacks.push(tokio::spawn(async move {
                let call = async || loop {
                    let fair = FairClient::new(&client).with_timeout(Duration::from_secs(60));
                    let called =
                        if suspends { fair.suspend_and_block(attacker).await } else { fair.block(attacker).await };
                    called.unwrap();
                };
                join_all((0..in_flight).map(|_| call())).await;
            }));
        }
        attacks
    }

    /// Makes calls from a client that does not attack. For each call, counts the handlers that the
    /// server starts before the reply arrives. Returns these counts in ascending order.
    ///
    /// The client sends each call just after a handler of an attacker has started. If another
    /// worker is free, the server can therefore reply while that handler runs.
    async fn started_during_calls(&self) -> Vec<usize> {
        let client = self.client().await;
        eventually("all attackers have begun", || self.blocking.counts().iter().all(|count| *count > 0)).await;
        let mut started = Vec::new();
        for _ in 0..CALLS {
            let before = self.blocking.total();
            while self.blocking.total() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let before = self.blocking.total();
            assert_eq!(FairClient::new(&client).echo().await, Ok(true));
            started.push(self.blocking.total() - before);
        }
        started.sort_unstable();
        started
    }

    /// Attacks a server, and makes calls from another client. Checks that the server starts at most
    /// `most` handlers during a typical call. Also checks that the attackers have similar shares of
    /// the workers.
    async fn check(workers: usize, in_flight: usize, suspends: bool, most: usize) {
        let _alone = ALONE.lock().await;
        let rig = Self::start(workers).await;
        let attacks = rig.attack(in_flight, suspends).await;
        let started = rig.started_during_calls().await;
        eventually("enough handlers have been started", || rig.blocking.total() >= COMPARED).await;
        let counts = rig.blocking.counts();
        attacks.iter().for_each(JoinHandle::abort);
        assert!(started[CALLS / 2] <= most, "handlers that were started during a call: {started:?}");
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(least * 4 >= *most, "the attackers share the workers: {counts:?}");
    }
}

#[tokio::test]
async fn call_waits_for_one_blocking_handler_on_one_worker() {
    Rig::check(1, IN_FLIGHT, false, 2).await;
}

#[tokio::test]
async fn call_waits_for_one_suspended_handler_on_one_worker() {
    Rig::check(1, IN_FLIGHT, true, 2).await;
}

#[tokio::test]
async fn blocking_handlers_leave_a_worker_to_others() {
    Rig::check(2, IN_FLIGHT, false, 0).await;
}

#[tokio::test]
async fn suspended_blocking_handlers_leave_a_worker_to_others() {
    Rig::check(2, IN_FLIGHT, true, 0).await;
}

/// An attacker sends each call only after the reply to its previous call.
#[tokio::test]
async fn sequential_blocking_calls_leave_a_worker_to_others() {
    Rig::check(2, 1, false, 0).await;
}

/// The stuck handlers hold all permits, but a worker is free.
#[tokio::test]
async fn slow_session_continues_while_other_handlers_are_stuck() {
    let _alone = ALONE.lock().await;
    let rig = Rig::start(2).await;
    let mut stuck = Vec::new();
    for attacker in 1..ATTACKERS {
        let client = rig.client().await;
        // After this call, the server treats the session as slow.
        assert_eq!(FairClient::new(&client).block(attacker).await, Ok(()));
        stuck.push(tokio::spawn(async move { FairClient::new(&client).block_in_place(attacker).await }));
        eventually("the handler blocks", || rig.blocking.counts()[attacker] == 2).await;
    }
    let client = rig.client().await;
    let calls = async {
        for _ in 0..CALLS {
            assert_eq!(FairClient::new(&client).block(0).await, Ok(()));
        }
    };
    timeout(Duration::from_secs(20), calls).await.expect("the calls wait for handlers that are stuck");
    rig.blocking.released.store(true, Ordering::Relaxed);
    for called in stuck {
        assert_eq!(called.await.unwrap(), Ok(()));
    }
}
