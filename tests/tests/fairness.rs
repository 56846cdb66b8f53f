//! Clients whose handlers block the server's threads, on few workers: the other clients get their turns all the same.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
    sync::oneshot,
    task::{JoinHandle, yield_now},
};

/// How long a handler blocks its thread.
const BLOCKS: Duration = Duration::from_millis(20);
const ATTACKERS: usize = 4;
/// How many calls an attacker has in flight.
const IN_FLIGHT: usize = 64;
/// How many calls the other client makes.
const CALLS: usize = 60;

#[sockets::group("Fair")]
trait Fair {
    async fn echo(&self) -> bool;
    async fn block(&self, attacker: usize);
    async fn suspend_and_block(&self, attacker: usize);
}

#[derive(Clone, Default)]
struct Blocking {
    /// How many handlers have blocked, by attackers.
    blocked: Arc<[AtomicUsize; ATTACKERS]>,
}

impl Blocking {
    fn block_for(&self, attacker: usize) {
        thread::sleep(BLOCKS);
        self.blocked[attacker].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [usize; ATTACKERS] {
        std::array::from_fn(|attacker| self.blocked[attacker].load(Ordering::Relaxed))
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
}

/// A server with some workers of its own.
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
            // Until the test ends.
            let _ = stopped.recv();
            runtime.shutdown_background();
        });
        Self { blocking, server: server.await.unwrap(), _stop: stop }
    }

    async fn client(&self) -> Client {
        Client::builder().connect(&format!("tcp://{}", self.server.local_addr())).await.unwrap()
    }

    /// Keeps as many calls of each attacker in flight.
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

    /// Returns how many handlers have blocked during each of some calls of another client, in ascending order.
    async fn blocked_during_calls(&self) -> Vec<usize> {
        let client = self.client().await;
        eventually("all attackers have begun", || self.blocking.counts().iter().all(|count| *count > 0)).await;
        let mut blocked = Vec::new();
        for _ in 0..CALLS {
            let before = self.blocking.total();
            assert_eq!(FairClient::new(&client).echo().await, Ok(true));
            blocked.push(self.blocking.total() - before);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        blocked.sort_unstable();
        blocked
    }

    /// Attacks, and checks how many handlers the other client's calls wait for.
    async fn check(&self, in_flight: usize, suspends: bool, most: usize) {
        let attacks = self.attack(in_flight, suspends).await;
        let blocked = self.blocked_during_calls().await;
        attacks.iter().for_each(JoinHandle::abort);
        assert!(blocked[CALLS / 2] <= most, "handlers that blocked during a call: {blocked:?}");
        let counts = self.blocking.counts();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(least * 4 >= *most, "the attackers share what they get: {counts:?}");
    }
}

#[tokio::test]
async fn call_waits_for_one_blocking_handler_on_one_worker() {
    Rig::start(1).await.check(IN_FLIGHT, false, 2).await;
}

#[tokio::test]
async fn call_waits_for_one_suspended_handler_on_one_worker() {
    Rig::start(1).await.check(IN_FLIGHT, true, 2).await;
}

#[tokio::test]
async fn blocking_handlers_leave_a_worker_to_others() {
    Rig::start(2).await.check(IN_FLIGHT, false, 0).await;
}

#[tokio::test]
async fn suspended_blocking_handlers_leave_a_worker_to_others() {
    Rig::start(2).await.check(IN_FLIGHT, true, 0).await;
}

/// Attackers each of whose calls follows the reply to the one before.
#[tokio::test]
async fn sequential_blocking_calls_leave_a_worker_to_others() {
    Rig::start(2).await.check(1, false, 0).await;
}
