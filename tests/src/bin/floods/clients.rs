//! Those who must not notice.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sockets::Client;
use tokio::{
    runtime::{Builder, Runtime},
    time::{MissedTickBehavior, interval},
};

use crate::server::BadClient;

const CLIENTS: usize = 50;
const EACH: Duration = Duration::from_millis(5);

pub(crate) struct Clients {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Clients {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let url = format!("tcp://{server}");
        let connecting = (0..CLIENTS).map(|_| Client::builder().connect(&url));
        let clients = runtime.block_on(join_all(connecting)).into_iter().map(Result::unwrap).collect();
        Self { runtime, clients }
    }

    /// Each calls 200 times a second.
    pub(crate) fn measure(&mut self, time: Duration) -> Latency {
        let until = Instant::now() + time;
        let calling = self.clients.iter().map(|client| tokio_spawn(&self.runtime, client.clone(), until));
        let calling: Vec<_> = calling.collect();
        let each = self.runtime.block_on(join_all(calling));
        Latency::of(each.into_iter().flat_map(Result::unwrap).collect())
    }
}

fn tokio_spawn(runtime: &Runtime, client: Client, until: Instant) -> tokio::task::JoinHandle<Vec<Duration>> {
    runtime.spawn(async move {
        let bad = BadClient::new(&client);
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut took = Vec::new();
        let mut free = Instant::now();
        while Instant::now() < until {
            let due = ticks.tick().await.into_std();
            // A call that could not be made in time, since the one before it took so long, has waited since it was due.
            let begun = if due < free { due } else { Instant::now() };
            assert_eq!(bad.echo("well").await.as_deref(), Ok("well"), "the others are served");
            free = Instant::now();
            took.push(free - begun);
        }
        took
    })
}

/// What the calls took.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    p50: Duration,
    pub(crate) p99: Duration,
}

impl Latency {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
    }

    /// The medians of several turns.
    pub(crate) fn median(turns: Vec<Self>) -> Self {
        let middle = |of: fn(&Self) -> Duration| {
            let mut all: Vec<_> = turns.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Self { p50: middle(|turn| turn.p50), p99: middle(|turn| turn.p99) }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.p50.as_micros(), self.p99.as_micros())
    }
}
