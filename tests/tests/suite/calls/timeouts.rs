//! Timeouts of calls. The tests cover the sources of a timeout, and its effect on both peers.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use sockets::{CallError, Client, Limits, Server};
use sockets_tests::*;
use tokio::sync::{Semaphore, mpsc::unbounded_channel};

use super::{
    answers::{Answers, CallsClient, CallsServer, answers},
    worker::{WorkClient, WorkServer, Worker, server_with_permits},
};

tcp_and_memory! {
    async fn deadline_comes_from_limits_trait_or_caller(net: Transport) {
        let server = net.serve(players().serve(answers())).await;
        let limits = Limits::new().call_timeout(Duration::from_secs(7));
        let client = net.join(&server, "ada", Client::builder().limits(limits)).await;
        let calls = CallsClient::new(&client);
        let near = |left: Result<Duration, CallError>, seconds: u64| {
            let left = left.unwrap();
            assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 1), "{left:?}");
        };
        near(calls.time_left().await, 7);
        near(calls.time_of_its_own().await, 2);
        let calls = calls.with_timeout(Duration::from_secs(4));
        near(calls.time_left().await, 4);
        near(calls.clone().time_of_its_own().await, 4);
        let default = net.join(&server, "bob", Client::builder()).await;
        near(CallsClient::new(&default).time_left().await, 30);
    }

    async fn timeout_of_any_source_ends_request_and_handler(net: Transport) {
        let (ended, mut ends) = unbounded_channel();
        let server = net.serve(Server::builder().serve(CallsServer::new(Answers { ended }))).await;
        let brief = Duration::from_millis(50);
        let limits = Limits::new().call_timeout(brief);
        let impatient = net.connect(&server, Client::builder().limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        for n in 0..3 {
            let result = match n {
                0 => CallsClient::new(&impatient).hang().await,
                1 => CallsClient::new(&client).hang_briefly().await,
                _ => CallsClient::new(&client).with_timeout(brief).hang().await,
            };
            assert_eq!(result, Err(CallError::Timeout));
            assert_eq!(ends.recv().await, Some("started"));
            assert_eq!(ends.recv().await, Some("dropped"));
        }
        assert_eq!(CallsClient::new(&client).nothing().await, Ok(()), "the connection lives");
    }

    /// Fault 19 of RELIABILITY.md.
    async fn deadline_ends_request_and_handler_on_both_peers(net: Transport) {
        let worker = Worker::default();
        let running = Arc::clone(&worker.running);
        let server = net.serve(Server::builder().serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let work = WorkClient::new(&client).with_timeout(Duration::from_millis(150));
        assert_eq!(work.hang().await, Err(CallError::Timeout));
        eventually("the handler is dropped", || running.load(Ordering::SeqCst) == 0).await;
        assert!((1..=150).contains(&work.time_left().await.unwrap()));
        let unset = WorkClient::new(&client).time_left().await.unwrap();
        assert!((25_000..=30_000).contains(&unset), "{unset}");
    }
}

#[tokio::test]
async fn largest_call_timeout_is_a_legal_limit() {
    let limits = Limits::new().call_timeout(Duration::MAX);
    let server = server_with_permits(&Arc::new(Semaphore::new(0))).limits(limits.clone()).build();
    let client = Client::builder().limits(limits).connect_local(&server).await.unwrap();
    client.emit("unhandled", &()).await.unwrap();
    assert_eq!(within(client.request::<u32>("echo", &1_u32)).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadline_ends_a_handler_at_its_next_suspension() {
    let alive = Arc::new(());
    let held = Arc::downgrade(&alive);
    let alive = Mutex::new(Some(alive));
    let limits = Limits::new().call_timeout(Duration::from_millis(100));
    let server = Server::builder().limits(limits).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    server.sockets()[0].listen("spin", move |(): ()| {
        let mine = alive.lock().unwrap().take();
        async move {
            while mine.is_some() {
                std::thread::sleep(Duration::from_millis(1));
                tokio::task::yield_now().await;
            }
        }
    });
    client.emit("spin", &()).await.unwrap();
    eventually("the handler is dropped", || held.strong_count() == 0).await;
}
