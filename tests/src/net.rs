//! One test, over every transport.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sockets::{BindError, Client, ClientBuilder, ConnectError, Identity, Server, ServerBuilder};
use tokio::io::{DuplexStream, duplex};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{LOOPBACK, Login, Player, eventually};

/// How the two sides of a test reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
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
    /// A stream that the user brings: `accept` and `connect_over`.
    Stream,
    /// A stream and sink of messages that the user brings: `accept_messages` and `connect_over_messages`.
    Messages,
    /// The transport within a process: `connect_to`.
    Memory,
}

impl Net {
    /// Whether a server knows the addresses of its clients.
    pub fn has_address(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Ws | Self::Wss)
    }

    /// A server that can be reached over this transport.
    pub async fn serve<I: Identity>(self, builder: ServerBuilder<I>) -> Server<I> {
        self.try_serve(builder).await.expect("the server starts")
    }

    /// The same, where it may fail.
    pub async fn try_serve<I: Identity>(self, builder: ServerBuilder<I>) -> Result<Server<I>, BindError> {
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

    /// A client of this server.
    pub async fn connect<I: Identity>(self, server: &Server<I>, builder: ClientBuilder) -> Client {
        self.try_connect(server, builder).await.expect("the client connects")
    }

    /// The same, where it may fail.
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
            Self::Memory => builder.connect_to(server).await,
        }
    }

    /// A client of the server that is reached at this address.
    pub async fn connect_at(self, addr: SocketAddr, builder: ClientBuilder) -> Client {
        self.try_connect_at(addr, builder).await.expect("the client connects")
    }

    /// The same, where it may fail.
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

    /// A client with a name.
    pub async fn join(self, server: &Server<Player>, name: &str, builder: ClientBuilder) -> Client {
        self.connect(server, builder.auth(Login::new(name))).await
    }

    /// Waits until a server has no sockets any more.
    pub async fn deserted<I: Identity>(self, server: &Server<I>) {
        eventually("the server has no sockets", || server.sockets().is_empty()).await;
    }
}

/// Where a test's server listens, beside the port that gives its name to the file.
pub fn unix_url<I: Identity>(server: &Server<I>) -> String {
    format!("unix:{}/sockets-tests-{}", std::env::temp_dir().display(), server.local_addr().port())
}

/// Two ends of a stream and sink of messages, which holds so many bytes in each direction.
pub fn messages(bytes: usize) -> (Messages, Messages) {
    let (near, far) = duplex(bytes);
    (Framed::new(near, LengthDelimitedCodec::new()), Framed::new(far, LengthDelimitedCodec::new()))
}

/// Messages over a duplex.
pub type Messages = Framed<DuplexStream, LengthDelimitedCodec>;

/// Runs a test, which fails if it hangs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let limit = Duration::from_secs(20);
    let ended = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    runtime.shutdown_background();
    ended.expect("the test hangs");
}

/// Makes a test of each function for each transport.
#[macro_export]
macro_rules! every_transport {
    ($($(#[$attribute:meta])* async fn $name:ident($net:ident: Net) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "a test may need nothing of its file")]
            use super::*;

            async fn test($net: $crate::Net) $body

            #[test]
            fn over_tcp() {
                $crate::run(test($crate::Net::Tcp));
            }

            #[test]
            fn over_a_unix_socket() {
                $crate::run(test($crate::Net::Unix));
            }

            #[test]
            fn over_tls() {
                $crate::run(test($crate::Net::Tls));
            }

            #[test]
            fn over_a_websocket() {
                $crate::run(test($crate::Net::Ws));
            }

            #[test]
            fn over_a_websocket_within_tls() {
                $crate::run(test($crate::Net::Wss));
            }

            #[test]
            fn over_a_stream() {
                $crate::run(test($crate::Net::Stream));
            }

            #[test]
            fn over_messages() {
                $crate::run(test($crate::Net::Messages));
            }

            #[test]
            fn in_memory() {
                $crate::run(test($crate::Net::Memory));
            }
        }
    )*};
}
