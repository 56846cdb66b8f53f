//! The interface of a subject, which consists of a server and a client.
//!
//! Workloads use only this trait. The default of [`pipeline`](Subject::pipeline) is the code that a
//! library's user would write, in which each call is a separate future. The default implementations
//! of the other methods return an error. If a subject does not support an operation, its
//! [`Subject::supports`] excludes the workloads that need the operation.

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

/// A flag that ends a workload after a fixed duration.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub trait Subject: 'static {
    /// The name of the subject on the command line and in the tables.
    const NAME: &'static str;

    /// A connection. The connection closes when its last clone is dropped.
    type Client: Clone + Send + Sync + 'static;
    type Server: Send + Sync + 'static;

    /// Returns `true` if the subject supports the workload. The default is `true`.
    fn supports(workload: Workload) -> bool {
        let _ = workload;
        true
    }

    // ---- in the server's process

    /// Starts a server at a free port of the loopback interface. The server's handler of emits
    /// increments `emits`.
    fn serve(emits: Arc<Counter>) -> impl Future<Output = Result<(SocketAddr, Self::Server)>> + Send;

    /// Sends a message to the room. The method does not wait until the members receive the message.
    fn broadcast(server: &Self::Server, news: News) -> impl Future<Output = Result<()>> + Send {
        let _ = (server, news);
        async { bail!("{} does not support broadcasts", Self::NAME) }
    }

    /// Sends a request to each member of the room, and returns the number of replies. Each member
    /// replies with the order that the request contains.
    fn broadcast_request(server: &Self::Server, order: Order) -> impl Future<Output = Result<usize>> + Send {
        let _ = (server, order);
        async { bail!("{} does not support broadcast requests", Self::NAME) }
    }

    // ---- in the client's process

    /// Opens a connection. If the connection joins the room later, it reports each message of the
    /// room to `member`.
    fn connect(address: SocketAddr, member: Arc<Member>) -> impl Future<Output = Result<Self::Client>> + Send;

    /// Makes a call. The server's handler returns the order.
    fn echo(client: &Self::Client, order: Order) -> impl Future<Output = Result<Order>> + Send;

    /// Keeps `depth` calls in flight until `stop` is set. Returns the number of calls.
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
                            bail!("the reply does not match the call");
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

    /// Sends `emits` emits. The method returns when all emits have been sent.
    fn emit(client: &Self::Client, emits: u64) -> impl Future<Output = Result<()>> + Send {
        let _ = (client, emits);
        async { bail!("{} does not support emits", Self::NAME) }
    }

    /// Joins the room. The method returns when the connection is a member.
    fn join(client: &Self::Client) -> impl Future<Output = Result<()>> + Send {
        let _ = client;
        async { bail!("{} does not support rooms", Self::NAME) }
    }

    /// Makes a call with large arguments. The server's handler returns the bytes.
    fn large(client: &Self::Client, data: Bytes) -> impl Future<Output = Result<Bytes>> + Send {
        let _ = (client, data);
        async { bail!("{} does not support byte strings", Self::NAME) }
    }
}
