//! Promises 2 and 5: every request has one outcome, which tells the truth, and both sides agree or are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{Call, CallError, Client, Limits, Server};
use sockets_tests::*;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

#[sockets::group("Work")]
trait Work {
    async fn double(&self, n: u32) -> u32;
    async fn refuse(&self, words: &str) -> Result<u32, String>;
    async fn panics_at_once(&self) -> u32;
    async fn panics_later(&self) -> u32;
    async fn hang(&self);
    async fn time_left(&self, call: &Call) -> u64;
    async fn repeat(&self, byte: u8, times: usize) -> Vec<u8>;
    async fn length(&self, bytes: &[u8]) -> usize;
    #[emit]
    async fn note(&self, n: u32);
}

#[derive(Default)]
struct Worker {
    running: Arc<AtomicUsize>,
    started: Arc<Notify>,
    noted: Arc<AtomicUsize>,
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Work for Worker {
    async fn double(&self, n: u32) -> u32 {
        n * 2
    }

    async fn refuse(&self, words: &str) -> Result<u32, String> {
        Err(words.to_owned())
    }

    async fn panics_at_once(&self) -> u32 {
        panic!("it was told to")
    }

    async fn panics_later(&self) -> u32 {
        tokio::task::yield_now().await;
        panic!("it was told to")
    }

    async fn hang(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _guard = Guard(Arc::clone(&self.running));
        self.started.notify_one();
        std::future::pending::<()>().await;
    }

    async fn time_left(&self, call: &Call) -> u64 {
        let left = call.deadline().saturating_duration_since(Instant::now().into_std());
        u64::try_from(left.as_millis()).unwrap()
    }

    async fn repeat(&self, byte: u8, times: usize) -> Vec<u8> {
        vec![byte; times]
    }

    async fn length(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    async fn note(&self, n: u32) {
        self.noted.fetch_add(n as usize, Ordering::SeqCst);
    }
}

every_transport! {
    /// Fault 18 of RELIABILITY.md.
    async fn a_reply_a_handlers_error_and_a_panic_each_come_to_the_caller(net: Transport) {
        let server = net.serve(Server::builder().serve(WorkServer::new(Worker::default()))).await;
        let client = net.connect(&server, Client::builder()).await;
        let work = WorkClient::new(&client);
        assert_eq!(work.double(21).await, Ok(42));
        assert_eq!(work.refuse("no").await, Err(CallError::Handler("no".to_owned())));
        assert_eq!(work.panics_at_once().await, Err(CallError::Panicked));
        assert_eq!(work.panics_later().await, Err(CallError::Panicked));
        assert_eq!(work.double(1).await, Ok(2));
    }

    async fn dropping_a_call_drops_its_handler_and_frees_its_place(net: Transport) {
        let worker = Worker::default();
        let (running, started) = (Arc::clone(&worker.running), Arc::clone(&worker.started));
        let limits = Limits { calls_in_flight: 1, ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits).serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let work = WorkClient::new(&client);
        for _ in 0..50 {
            tokio::select! {
                outcome = work.hang() => panic!("{outcome:?}"),
                () = started.notified() => {}
            }
            eventually("the handler is dropped", || running.load(Ordering::SeqCst) == 0).await;
        }
        assert_eq!(work.double(1).await, Ok(2));
    }

    /// Promise 3: a tight loop of emits waits for its receiver, and loses nothing.
    async fn an_emit_waits_for_room_while_its_receiver_is_busy_and_none_is_lost(net: Transport) {
        let limits = Limits { calls_in_flight: 16, outgoing_queue: 4096, ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits.clone())).await;
        let client = net.connect(&server, Client::builder().limits(limits)).await;
        let (go, heard) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, counted) = (Arc::clone(&go), Arc::clone(&heard));
        server.sockets()[0].listen("busy", move |_: Vec<u8>| {
            let (gate, heard) = (Arc::clone(&gate), Arc::clone(&counted));
            async move {
                gate.acquire().await.unwrap().forget();
                heard.fetch_add(1, Ordering::SeqCst);
            }
        });
        let sent = Arc::new(AtomicUsize::new(0));
        let emitters: Vec<_> = (0..4).map(|_| {
            let (client, sent) = (client.clone(), Arc::clone(&sent));
            tokio::spawn(async move {
                for _ in 0..500 {
                    client.emit("busy", &vec![0_u8; 100]).await.unwrap();
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        }).collect();
        sleep(Duration::from_millis(100)).await;
        assert!(sent.load(Ordering::SeqCst) <= 16, "{sent:?}");
        go.add_permits(2000);
        for emitter in emitters {
            emitter.await.unwrap();
        }
        eventually("all are heard", || heard.load(Ordering::SeqCst) == 2000).await;
    }
}

tcp_and_memory! {
    /// Lost wake-ups show as a call that takes longer than any scheduler's whim.
    async fn no_wake_up_is_lost_when_small_queues_fill_from_many_threads(net: Transport) {
        // All 48 requests may wait, of some 22 bytes each, but not one of the larger replies.
        let limits = Limits { calls_in_flight: 48, bytes_in_flight: 8192, outgoing_queue: 2048, ..Limits::default() };
        let server = Server::builder().limits(limits.clone()).serve(WorkServer::new(Worker::default()));
        let server = net.serve(server).await;
        let client = net.connect(&server, Client::builder().limits(limits.clone())).await;
        let until = Instant::now() + Duration::from_secs(1);
        let callers: Vec<_> = (0..48_usize)
            .map(|caller| {
                let work = WorkClient::new(&client);
                tokio::spawn(async move {
                    let mut times = caller;
                    while Instant::now() < until {
                        times = (times * 7 + 13) % 3000;
                        if times % 5 == 0 {
                            work.note(1).await.unwrap();
                        }
                        let reply =
                            timeout(Duration::from_secs(3), work.repeat(1, times)).await.expect("a lost wake-up");
                        assert_eq!(reply.map(|bytes| bytes.len()), Ok(times));
                    }
                })
            })
            .collect();
        for caller in callers {
            within(caller).await.unwrap();
        }
    }
}

tcp_and_memory! {
    /// Fault 19 of RELIABILITY.md.
    async fn a_deadline_ends_the_call_and_its_handler_and_travels(net: Transport) {
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

    async fn what_is_too_large_is_told_in_both_directions_and_harms_nothing(net: Transport) {
        let limits = Limits { max_frame: 1000, ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits.clone()).serve(WorkServer::new(Worker::default()))).await;
        let client = net.connect(&server, Client::builder().limits(limits)).await;
        let work = WorkClient::new(&client);
        assert_eq!(work.length(&[0; 900]).await, Ok(900));
        assert!(matches!(work.length(&[0; 1001]).await, Err(CallError::TooLarge { .. })));
        assert_eq!(work.repeat(1, 900).await.map(|bytes| bytes.len()), Ok(900));
        assert!(matches!(work.repeat(1, 1001).await, Err(CallError::TooLarge { .. })));
        let emitted = client.emit("x", &vec![0_u8; 1001]).await;
        assert!(matches!(emitted, Err(CallError::TooLarge { .. })), "{emitted:?}");
        assert_eq!(work.double(1).await, Ok(2));
    }

    async fn beyond_the_window_and_as_many_that_wait_calls_are_overloaded(net: Transport) {
        let worker = Worker::default();
        let limits = Limits { calls_in_flight: 4, ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits.clone()).serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder().limits(limits)).await;
        let work = WorkClient::new(&client).with_timeout(Duration::from_millis(300));
        let outcomes = futures_util::future::join_all((0..12).map(|_| work.hang())).await;
        let count = |wanted: &CallError| outcomes.iter().filter(|outcome| outcome.as_ref() == Err(wanted)).count();
        assert_eq!((count(&CallError::Timeout), count(&CallError::Overloaded)), (8, 4), "{outcomes:?}");
        assert_eq!(work.double(1).await, Ok(2));
    }

    async fn what_nobody_serves_and_what_differs_is_told_and_harms_nothing(net: Transport) {
        let worker = Worker::default();
        let noted = Arc::clone(&worker.noted);
        let server = net.serve(Server::builder().serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let (group, work) = (client.group("Work"), WorkClient::new(&client));
        assert_eq!(group.request::<u32>("nothing", &1_u32).await, Err(CallError::NoSuchMethod));
        assert_eq!(client.request::<u32>("double", &1_u32).await, Err(CallError::NoSuchMethod));
        assert_eq!(WorkClient::new(&server.sockets()[0]).double(1).await, Err(CallError::NoSuchMethod));
        match group.request::<()>("note", &1_u32).await {
            Err(CallError::SignatureMismatch { message }) => assert!(message.contains("Work/note"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(group.request::<u32>("double", &"words").await, Err(CallError::Decode(_))));
        assert!(matches!(group.request::<String>("double", &1_u32).await, Err(CallError::Decode(_))));
        for _ in 0..5000 {
            group.emit("nothing", &1_u32).await.unwrap();
            group.emit("double", &1_u32).await.unwrap();
            group.emit("note", &(1_u8, 2_u8)).await.unwrap();
        }
        work.note(3).await.unwrap();
        assert_eq!(work.double(1).await, Ok(2));
        eventually("the emit is heard", || noted.load(Ordering::SeqCst) == 3).await;
    }
}
