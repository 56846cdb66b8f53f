//! What the tests of the promises share: servers and clients over every wire, and links that can be frozen or cut.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    reason = "each file uses a part of it, and a test that unwraps fails there"
)]

use std::{future::Future, hash::Hash, time::Duration};

use sockets::{Client, ClientBuilder, ConnectError, Server, ServerBuilder};
pub(crate) use sockets_tests::Net;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Longer than anything here takes, and shorter than the defaults of `Limits`: a test that waits for one of those hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// What each promise is kept over. TLS within a WebSocket adds nothing to the two.
pub(crate) const WIRES: [Net; 7] = [Net::Tcp, Net::Unix, Net::Tls, Net::Ws, Net::Stream, Net::Messages, Net::Memory];

/// A server, and how its clients reach it.
pub(crate) struct Host<I = ()> {
    pub(crate) server: Server<I>,
    wire: Net,
}

impl<I: Clone + Eq + Hash + Send + Sync + 'static> Host<I> {
    pub(crate) async fn new(wire: Net, builder: ServerBuilder<I>) -> Self {
        Self { server: wire.serve(builder).await, wire }
    }

    pub(crate) async fn try_connect(&self, client: ClientBuilder) -> Result<Client, ConnectError> {
        self.wire.try_connect(&self.server, client).await
    }

    pub(crate) async fn connect(&self, client: ClientBuilder) -> Client {
        self.try_connect(client).await.unwrap()
    }
}

/// Defines each test for every wire on a multi-thread runtime, and for two of them on a current-thread one.
macro_rules! on_every_wire {
    ($($(#[$doc:meta])* async fn $name:ident($wire:ident: Net) $body:block)*) => { $(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn body($wire: Net) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_tcp() {
                within(body(Net::Tcp)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_unix_socket() {
                within(body(Net::Unix)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_tls() {
                within(body(Net::Tls)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_websocket() {
                within(body(Net::Ws)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_duplex() {
                within(body(Net::Stream)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_messages() {
                within(body(Net::Messages)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn in_process() {
                within(body(Net::Memory)).await;
            }

            #[tokio::test]
            async fn over_tcp_on_one_thread() {
                within(body(Net::Tcp)).await;
            }

            #[tokio::test]
            async fn in_process_on_one_thread() {
                within(body(Net::Memory)).await;
            }
        }
    )* };
}
pub(crate) use on_every_wire;

/// Fails where a hang would be.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// A link between a client and a server that can be frozen or cut.
pub(crate) struct Relay {
    flows: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Relay {
    /// Gives the client's end.
    pub(crate) fn to<I: Clone + Eq + Hash + Send + Sync + 'static>(server: &Server<I>) -> (DuplexStream, Self) {
        let (near, client) = duplex(16 << 10);
        let (far, accepted) = duplex(16 << 10);
        drop(server.accept(accepted));
        let (from_client, to_client) = split(near);
        let (from_server, to_server) = split(far);
        let (flows, flowing) = watch::channel(true);
        let tasks = [
            tokio::spawn(carry(from_client, to_server, watch::channel(true).1)),
            tokio::spawn(carry(from_server, to_client, flowing)),
        ];
        (client, Self { flows, tasks })
    }

    /// What the server sends gets stuck.
    pub(crate) fn freeze(&self) {
        self.flows.send_replace(false);
    }

    pub(crate) fn thaw(&self) {
        self.flows.send_replace(true);
    }

    /// The link breaks, in both directions.
    pub(crate) fn cut(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut flowing: watch::Receiver<bool>) {
    let mut buffer = vec![0; 4096];
    while let Ok(read) = from.read(&mut buffer).await {
        // A closed channel means that nobody freezes this direction any more.
        let _ = flowing.wait_for(|flows| *flows).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // The other end may have gone first.
    let _ = to.shutdown().await;
}
