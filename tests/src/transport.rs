//! The transports of a test, and macros that run a test over several transports.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sockets::{
    BindError, BuilderState, Client, ClientBuilder, ClientState, ConnectError, DisconnectReason, Identity, Reconnect,
    Server, ServerBuilder, Shutdown,
};
use tokio::{
    io::{DuplexStream, duplex},
    runtime::Builder,
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{LOOPBACK, Login, Player, eventually};

/// The transport between the peers of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP on loopback.
    Tcp,
    /// A Unix socket.
    Unix,
    /// TLS on loopback.
    Tls,
    /// WebSocket on loopback.
    Ws,
    /// WebSocket within TLS.
    Wss,
    /// A stream of bytes that the user provides, by `accept` and `connect_over`.
    Stream,
    /// A stream and sink of messages that the user provides, by `accept_messages` and
    /// `connect_over_messages`.
    Messages,
    /// The transport within a process, by `connect_local`.
    Memory,
}

impl Transport {
    /// Returns `true` if a server knows the addresses of its clients.
    pub fn has_address(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Ws | Self::Wss)
    }

    /// Starts a server that accepts this transport.
    pub async fn serve<S: BuilderState>(self, builder: ServerBuilder<S>) -> Server<S::Identity> {
        self.try_serve(builder).await.expect("the server starts")
    }

    /// Starts a server as [`serve`](Self::serve) does, but returns errors instead of panicking.
    pub async fn try_serve<S: BuilderState>(self, builder: ServerBuilder<S>) -> Result<Server<S::Identity>, BindError> {
        match self {
            Self::Tcp => builder.bind("tcp://127.0.0.1:0").await,
            Self::Unix => {
                let server = builder.bind("tcp://127.0.0.1:0").await?;
                server.bind(&unix_url(&server)).await?;
                Ok(server)
            }
            Self::Tls => builder.tls(Arc::clone(&LOOPBACK.0)).bind("tls://127.0.0.1:0").await,
            Self::Ws => builder.bind("ws://127.0.0.1:0").await,
            Self::Wss => builder.tls(Arc::clone(&LOOPBACK.0)).bind("wss://127.0.0.1:0").await,
            Self::Stream | Self::Messages | Self::Memory => Ok(builder.build()),
        }
    }

    /// Connects a client to this server.
    pub async fn connect<I: Identity>(self, server: &Server<I>, builder: ClientBuilder) -> Client {
        self.try_connect(server, builder).await.expect("the client connects")
    }

    /// Connects a client as [`connect`](Self::connect) does, but returns errors instead of
    /// panicking.
    pub async fn try_connect<I: Identity>(
        self,
        server: &Server<I>,
        builder: ClientBuilder,
    ) -> Result<Client, ConnectError> {
        match self {
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => self.try_connect_at(server.local_addr(), builder).await,
            Self::Unix => builder.connect(&unix_url(server)).await,
            Self::Stream => {
                let (near, far) = duplex(1 << 16);
                drop(server.accept(far));
                builder.connect_over(near).await
            }
            Self::Messages => {
                let (near, far) = messages(1 << 16);
                drop(server.accept_messages(far));
                builder.connect_over_messages(near).await
            }
            Self::Memory => builder.connect_local(server).await,
        }
    }

    /// Connects a client to the server at this address.
    pub async fn connect_at(self, addr: SocketAddr, builder: ClientBuilder) -> Client {
        self.try_connect_at(addr, builder).await.expect("the client connects")
    }

    /// Connects a client as [`connect_at`](Self::connect_at) does, but returns errors instead of
    /// panicking.
    pub async fn try_connect_at(self, addr: SocketAddr, builder: ClientBuilder) -> Result<Client, ConnectError> {
        let (scheme, is_secure) = match self {
            Self::Tls => ("tls", true),
            Self::Ws => ("ws", false),
            Self::Wss => ("wss", true),
            _ => ("tcp", false),
        };
        let builder = if is_secure { builder.tls(Arc::clone(&LOOPBACK.1)) } else { builder };
        builder.connect(&format!("{scheme}://{addr}")).await
    }

    /// Connects a client that logs in with this name.
    pub async fn join(self, server: &Server<Player>, name: &str, builder: ClientBuilder) -> Client {
        self.connect(server, builder.auth(Login::new(name))).await
    }

    /// Waits until a server has no sockets.
    pub async fn wait_until_empty<I: Identity>(self, server: &Server<I>) {
        eventually("the server has no sockets", || server.sockets().is_empty()).await;
    }
}

/// Returns the address of the Unix socket of a test's server. The name of the file contains the
/// server's TCP port.
pub fn unix_url<I: Identity>(server: &Server<I>) -> String {
    format!("unix:{}/sockets-tests-{}", std::env::temp_dir().display(), server.local_addr().port())
}

/// Returns two ends of a stream and sink of messages, with a buffer of this size in each direction.
pub fn messages(bytes: usize) -> (Messages, Messages) {
    let (near, far) = duplex(bytes);
    (Framed::new(near, LengthDelimitedCodec::new()), Framed::new(far, LengthDelimitedCodec::new()))
}

/// A stream and sink of messages over a duplex stream.
pub type Messages = Framed<DuplexStream, LengthDelimitedCodec>;

/// Returns the settings of a shutdown after which clients do not reconnect.
pub fn for_good() -> Shutdown {
    Shutdown::new().for_good("closed for good")
}

/// Returns `true` for the reason of a server that expects its clients to reconnect.
pub fn is_restart(reason: &DisconnectReason) -> bool {
    matches!(reason, DisconnectReason::ShuttingDown { words: None, comes_back: true, redirect: None, .. })
}

/// Returns the number of the session of a client that is connected.
pub fn session_of(client: &Client) -> Option<u64> {
    match client.state() {
        ClientState::Connected { session, .. } => Some(session),
        _ => None,
    }
}

/// Returns a builder of a client that does not reconnect.
pub fn once() -> ClientBuilder {
    Client::builder().reconnect(Reconnect::never())
}

/// Returns a client builder. If the client loses its connection, it reconnects soon.
pub fn reconnecting() -> ClientBuilder {
    let soon = Reconnect::default().first_within(Duration::from_millis(5)).at_most_every(Duration::from_millis(50));
    Client::builder().reconnect(soon)
}

/// Runs a test on four threads, and fails if it hangs.
pub fn run(test: impl Future<Output = ()>) {
    limited(Builder::new_multi_thread().worker_threads(4), test);
}

/// Runs a test on a single thread, and fails if it hangs.
pub fn run_on_one_thread(test: impl Future<Output = ()>) {
    limited(&mut Builder::new_current_thread(), test);
}

fn limited(builder: &mut Builder, test: impl Future<Output = ()>) {
    let runtime = builder.enable_all().build().expect("a runtime");
    let ended = runtime.block_on(async { timeout(Duration::from_secs(20), test).await });
    runtime.shutdown_background();
    ended.expect("the test ends in time");
}

/// Runs each function over each transport, on several threads and on a single thread.
#[macro_export]
macro_rules! every_transport {
    ($($tests:tt)*) => {
        $crate::tests_over! {
            {
                over_tcp: run(Tcp),
                over_unix: run(Unix),
                over_tls: run(Tls),
                over_websocket: run(Ws),
                over_websocket_with_tls: run(Wss),
                over_a_stream: run(Stream),
                over_messages: run(Messages),
                in_memory: run(Memory),
                over_tcp_on_one_thread: run_on_one_thread(Tcp),
                in_memory_on_one_thread: run_on_one_thread(Memory),
            }
            $($tests)*
        }
    };
}

/// Runs each function over only TCP and memory. Use this macro for behaviour that does not depend
/// on the transport.
#[macro_export]
macro_rules! tcp_and_memory {
    ($($tests:tt)*) => {
        $crate::tests_over! {
            {
                over_tcp: run(Tcp),
                in_memory: run(Memory),
                in_memory_on_one_thread: run_on_one_thread(Memory),
            }
            $($tests)*
        }
    };
}

/// Generates a module for each function, with a test for each transport.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_over {
    ($transports:tt $($(#[$attribute:meta])* async fn $name:ident($transport:ident: Transport) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing of its file")]
            use super::*;

            async fn test($transport: $crate::Transport) $body

            $crate::test_functions! $transports
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! test_functions {
    ($($function:ident: $run:ident($transport:ident),)*) => {$(
        #[test]
        fn $function() {
            $crate::$run(test($crate::Transport::$transport));
        }
    )*};
}
