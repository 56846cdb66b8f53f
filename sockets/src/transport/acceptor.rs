//! The side of a transport that listens.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

use super::{Address, Arrival, Authority, Handshake, ServerOptions, over_stream, unix::UnixAcceptor};
use crate::limits::Limits;

/// Listens, and takes connections as they come.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixAcceptor),
}

impl Acceptor {
    pub(crate) async fn bind(address: Address, _options: &ServerOptions, _limits: &Arc<Limits>) -> io::Result<Self> {
        match address {
            Address::Tcp(authority) => Ok(Self::Tcp(listen(&authority).await?)),
            Address::Unix(path) => Ok(Self::Unix(UnixAcceptor::bind(path).await?)),
            #[cfg(feature = "tls")]
            Address::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(feature = "ws")]
            Address::Web(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Takes the next connection. It does not wait for what the other side has to say: that is for [`Arrival::Opening`].
    ///
    /// An error may be of one connection alone; the next ones can still be taken.
    pub(crate) async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer_addr) = accept(listener).await?;
                let (read, write) = stream.into_split();
                let handshake = Handshake { peer_addr: Some(peer_addr), ..Handshake::over("tcp") };
                Ok(Arrival::Open(over_stream(read, write), handshake))
            }
            Self::Unix(acceptor) => acceptor.accept().await,
        }
    }
}

async fn listen(authority: &Authority) -> io::Result<TcpListener> {
    TcpListener::bind(authority.pair()).await
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer_addr) = listener.accept().await?;
    // Messages are gathered before they are written; the system must not wait for more. It fails if the connection is
    // lost already, which the first read tells.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer_addr))
}
