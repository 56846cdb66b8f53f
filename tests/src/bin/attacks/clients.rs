//! The honest clients. They measure the latency of their calls.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sockets::Client;
use tokio::{
    runtime::{Builder, Runtime},
    time::{MissedTickBehavior, interval},
};

use crate::server::{AttackedClient, Running};

const CLIENTS: usize = 20;
/// The time between two calls of a client. All clients together make 500 calls a second.
const INTERVAL: Duration = Duration::from_millis(40);

pub(crate) struct Clients {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Clients {
    pub(crate) fn connect(server: &Running) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let url = format!("{}://{}", server.scheme, server.address);
        let connecting = (0..CLIENTS).map(|_| Client::builder().connect(&url));
        let clients = runtime.block_on(join_all(connecting)).into_iter().map(Result::unwrap).collect();
        Self { runtime, clients }
    }

    /// Makes calls for this time, and returns the latency of the calls.
    pub(crate) fn measure(&self, time: Duration) -> Latency {
        let until = Instant::now() + time;
        let calling = self.clients.iter().enumerate().map(|(number, client)| {
            let offset = INTERVAL * u32::try_from(number).unwrap() / u32::try_from(CLIENTS).unwrap();
            self.runtime.spawn(call(client.clone(), offset, until))
        });
        let calling: Vec<_> = calling.collect();
        let each = self.runtime.block_on(join_all(calling));
        Latency::of(each.into_iter().flat_map(Result::unwrap).collect())
    }

    /// Returns the time in milliseconds for which handlers have blocked the server's threads.
    pub(crate) fn worked(&self) -> u64 {
        self.runtime.block_on(AttackedClient::new(&self.clients[0]).worked()).unwrap_or(0)
    }
}

async fn call(client: Client, offset: Duration, until: Instant) -> Vec<Duration> {
    let stub = AttackedClient::new(&client);
    tokio::time::sleep(offset).await;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut latencies = Vec::new();
    let mut free = Instant::now();
    while Instant::now() < until {
        let due = ticks.tick().await.into_std();
        // If this call was due before the previous call completed, its latency counts from the time
        // at which it was due.
        let started = if due < free { due } else { Instant::now() };
        assert_eq!(stub.echo("honest").await.as_deref(), Ok("honest"), "honest clients are served");
        free = Instant::now();
        latencies.push(free - started);
    }
    latencies
}

/// Percentiles of latencies.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latency {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self { p50: latencies[latencies.len() / 2], p99: latencies[latencies.len() * 99 / 100] }
    }

    /// Returns the medians over the given runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> Duration| {
            let mut all: Vec<_> = runs.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Self { p50: middle(|run| run.p50), p99: middle(|run| run.p99) }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} / {:.1}", self.p50.as_secs_f64() * 1000.0, self.p99.as_secs_f64() * 1000.0)
    }
}
