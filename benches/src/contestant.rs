//! What a contestant is: a server and a client of one kind.
//!
//! The workloads know nothing else of it. The defaults are what a program does that uses a library: every call is a
//! future of its own. What a contestant has no way to do it leaves at its default, and says so in [`Contestant::does`].

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    workloads::Workload,
};

/// Ends what runs for a time rather than for a number of calls.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub trait Contestant: 'static {
    /// As on the command line and in the tables.
    const NAME: &'static str;

    /// Dropping it closes the connection.
    type Client: Clone + Send + Sync + 'static;
    type Server: Send + Sync + 'static;

    /// Whether it has a way to do this workload. By default all of them.
    fn does(workload: Workload) -> bool {
        let _ = workload;
        true
    }

    // ---- the server's process

    /// Serves on a free port of the loopback interface. The handler of an emit adds one to `emits`.
    fn serve(emits: Arc<Counter>) -> impl Future<Output = Result<(SocketAddr, Self::Server)>> + Send;

    /// Sends a message to the room; does not wait for its members.
    fn broadcast(server: &Self::Server, news: News) -> impl Future<Output = Result<()>> + Send {
        let _ = (server, news);
        async { bail!("{} has no broadcasts", Self::NAME) }
    }

    /// Asks every member of the room and awaits all replies: how many came. A member echoes the order.
    fn ask(server: &Self::Server, question: Order) -> impl Future<Output = Result<usize>> + Send {
        let _ = (server, question);
        async { bail!("{} has no questions to a room", Self::NAME) }
    }

    // ---- the client's process

    /// A new connection. `member` is to be told of every message to the room, once the connection has joined it.
    fn connect(address: SocketAddr, member: Arc<Member>) -> impl Future<Output = Result<Self::Client>> + Send;

    /// One call: the server's handler returns the order that it gets.
    fn echo(client: &Self::Client, order: Order) -> impl Future<Output = Result<Order>> + Send;

    /// Keeps `depth` calls in flight until it is told to stop: how many were made.
    fn pipeline(client: Self::Client, depth: usize, stop: Stop) -> impl Future<Output = Result<u64>> + Send {
        async move {
            let mut lanes = JoinSet::new();
            for lane in 0..depth {
                let (client, stop) = (client.clone(), stop.clone());
                lanes.spawn(async move {
                    let mut calls = 0;
                    while !stop.is_set() {
                        let id = calls * 1024 + lane as u64;
                        if Self::echo(&client, Order::new(id)).await?.id != id {
                            bail!("the reply to another call");
                        }
                        calls += 1;
                    }
                    Ok(calls)
                });
            }
            let mut calls = 0;
            while let Some(lane) = lanes.join_next().await {
                calls += lane??;
            }
            Ok(calls)
        }
    }

    /// Sends so many orders to a handler that returns nothing, and leaves none behind unsent.
    fn emit(client: &Self::Client, emits: u64) -> impl Future<Output = Result<()>> + Send {
        let _ = (client, emits);
        async { bail!("{} has no emits", Self::NAME) }
    }

    /// Has the server put this connection in the room; returns when it is there.
    fn join(client: &Self::Client) -> impl Future<Output = Result<()>> + Send {
        let _ = client;
        async { bail!("{} has no rooms", Self::NAME) }
    }

    /// One call with large arguments: the server's handler returns the bytes that it gets.
    fn large(client: &Self::Client, data: Bytes) -> impl Future<Output = Result<Bytes>> + Send {
        let _ = (client, data);
        async { bail!("{} does not send bytes", Self::NAME) }
    }
}
