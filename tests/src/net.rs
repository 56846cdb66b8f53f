//! One test, over every transport.

use std::{sync::Arc, time::Duration};

use sockets::{BindError, Client, ClientBuilder, ConnectError, Identity, Server, ServerBuilder};

use crate::{LOOPBACK, Login, Player, eventually};

/// How the two sides of a test reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// TCP on loopback.
    Tcp,
    /// TLS on loopback.
    Tls,
    /// A stream that the user brings: `accept` and `connect_over`.
    Stream,
    /// The transport within a process: `connect_to`.
    Memory,
}

impl Net {
    /// A server that can be reached over this transport.
    pub async fn serve<I: Identity>(self, builder: ServerBuilder<I>) -> Server<I> {
        self.try_serve(builder).await.expect("the server starts")
    }

    /// The same, where it may fail.
    pub async fn try_serve<I: Identity>(self, builder: ServerBuilder<I>) -> Result<Server<I>, BindError> {
        match self {
            Self::Tcp => builder.bind("tcp://127.0.0.1:0").await,
            Self::Tls => builder.tls(Arc::clone(&LOOPBACK.0)).bind("tls://127.0.0.1:0").await,
            Self::Stream | Self::Memory => Ok(builder.build()),
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
            Self::Tcp => builder.connect(&format!("tcp://{}", server.local_addr())).await,
            Self::Tls => {
                let builder = builder.tls(Arc::clone(&LOOPBACK.1));
                builder.connect(&format!("tls://{}", server.local_addr())).await
            }
            Self::Stream => {
                let (near, far) = tokio::io::duplex(1 << 16);
                drop(server.accept(far));
                builder.connect_over(near).await
            }
            Self::Memory => builder.connect_to(server).await,
        }
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
            fn over_tls() {
                $crate::run(test($crate::Net::Tls));
            }

            #[test]
            fn over_a_stream() {
                $crate::run(test($crate::Net::Stream));
            }

            #[test]
            fn in_memory() {
                $crate::run(test($crate::Net::Memory));
            }
        }
    )*};
}
