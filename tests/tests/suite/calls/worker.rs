//! A handler that works, fails, hangs and panics.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sockets::{Call, Server, ServerBuilder, Socket};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

#[sockets::group("Work")]
pub(super) trait Work {
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
pub(super) struct Worker {
    pub(super) running: Arc<AtomicUsize>,
    pub(super) started: Arc<Notify>,
    pub(super) noted: Arc<AtomicUsize>,
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
        panic!("the test requests a panic")
    }

    async fn panics_later(&self) -> u32 {
        tokio::task::yield_now().await;
        panic!("the test requests a panic")
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

/// Returns a server that answers `echo` immediately. It answers `waiting` when it gets a permit.
pub(super) fn server_with_permits(permits: &Arc<Semaphore>) -> ServerBuilder<()> {
    let permits = Arc::clone(permits);
    Server::builder().connected(move |socket: Socket| {
        let permits = Arc::clone(&permits);
        async move {
            socket.listen("echo", |n: u32| async move { n });
            let held = Arc::clone(&permits);
            socket.listen("hold", move |_: Vec<u8>| {
                let permits = Arc::clone(&held);
                async move { permits.acquire().await.unwrap().forget() }
            });
            socket.listen("waiting", move |n: u32| {
                let permits = Arc::clone(&permits);
                async move {
                    permits.acquire().await.unwrap().forget();
                    n
                }
            });
        }
    })
}
