//! What the tests of the promises share: servers and clients over every wire, and links that can be frozen or cut.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    reason = "each file uses a part of it, and a test that unwraps fails there"
)]

use std::{future::Future, hash::Hash, sync::Arc, time::Duration};

use sockets::{Client, ClientBuilder, ConnectError, Server, ServerBuilder};
use sockets_tests::{LOOPBACK, messages, unix_url};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Longer than anything here takes, and shorter than the defaults of `Limits`: a test that waits for one of those hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tcp,
    Unix,
    Tls,
    WebSocket,
    Duplex,
    Messages,
    InProcess,
}

impl Wire {
    pub(crate) const ALL: [Self; 7] =
        [Self::Tcp, Self::Unix, Self::Tls, Self::WebSocket, Self::Duplex, Self::Messages, Self::InProcess];
}

/// A server, and how its clients reach it.
pub(crate) struct Host<I = ()> {
    pub(crate) server: Server<I>,
    wire: Wire,
}

impl<I: Clone + Eq + Hash + Send + Sync + 'static> Host<I> {
    pub(crate) async fn new(wire: Wire, builder: ServerBuilder<I>) -> Self {
        let server = builder.tls(Arc::clone(&LOOPBACK.0)).build();
        match wire {
            Wire::Tcp => server.bind("tcp://127.0.0.1:0").await.unwrap(),
            Wire::Unix => {
                server.bind("tcp://127.0.0.1:0").await.unwrap();
                server.bind(&unix_url(&server)).await.unwrap();
            }
            Wire::Tls => server.bind("tls://127.0.0.1:0").await.unwrap(),
            Wire::WebSocket => server.bind("ws://127.0.0.1:0").await.unwrap(),
            Wire::Duplex | Wire::Messages | Wire::InProcess => {}
        }
        Self { server, wire }
    }

    pub(crate) async fn try_connect(&self, client: ClientBuilder) -> Result<Client, ConnectError> {
        match self.wire {
            Wire::Tcp => client.connect(&format!("tcp://{}", self.server.local_addr())).await,
            Wire::Unix => client.connect(&unix_url(&self.server)).await,
            Wire::Tls => {
                let client = client.tls(Arc::clone(&LOOPBACK.1));
                client.connect(&format!("tls://{}", self.server.local_addr())).await
            }
            Wire::Messages => {
                let (near, far) = messages(64 << 10);
                drop(self.server.accept_messages(far));
                client.connect_over_messages(near).await
            }
            Wire::WebSocket => client.connect(&format!("ws://{}", self.server.local_addr())).await,
            Wire::Duplex => {
                let (near, far) = duplex(64 << 10);
                drop(self.server.accept(far));
                client.connect_over(near).await
            }
            Wire::InProcess => client.connect_to(&self.server).await,
        }
    }

    pub(crate) async fn connect(&self, client: ClientBuilder) -> Client {
        self.try_connect(client).await.unwrap()
    }
}

/// Defines each test for every wire on a multi-thread runtime, and for two of them on a current-thread one.
macro_rules! on_every_wire {
    ($($(#[$doc:meta])* async fn $name:ident($wire:ident: Wire) $body:block)*) => { $(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn body($wire: Wire) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_tcp() {
                within(body(Wire::Tcp)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_unix_socket() {
                within(body(Wire::Unix)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_tls() {
                within(body(Wire::Tls)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_websocket() {
                within(body(Wire::WebSocket)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_a_duplex() {
                within(body(Wire::Duplex)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn over_messages() {
                within(body(Wire::Messages)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn in_process() {
                within(body(Wire::InProcess)).await;
            }

            #[tokio::test]
            async fn over_tcp_on_one_thread() {
                within(body(Wire::Tcp)).await;
            }

            #[tokio::test]
            async fn in_process_on_one_thread() {
                within(body(Wire::InProcess)).await;
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
