//! Accepts connections from clients.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConfig;

#[cfg(feature = "tls")]
use super::tls;
#[cfg(feature = "ws")]
use super::websocket::{self, UpgradePolicy};
use super::{ConnectInfo, Incoming, ServerOptions, over_stream, unix::UnixAcceptor};
use crate::{
    address::{Address, Authority},
    limits::Limits,
};

/// A bound listener, by transport.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixAcceptor),
    #[cfg(feature = "tls")]
    Tls(TcpListener, Arc<ServerConfig>),
    #[cfg(feature = "ws")]
    Ws(TcpListener, Arc<UpgradePolicy>),
    #[cfg(all(feature = "ws", feature = "tls"))]
    Wss(TcpListener, Arc<ServerConfig>, Arc<UpgradePolicy>),
}

impl Acceptor {
    #[allow(unused_variables, reason = "without features no transport needs them")]
    pub(crate) async fn bind(address: Address, options: &ServerOptions, limits: &Arc<Limits>) -> io::Result<Self> {
        match address {
            Address::Tcp(authority) => Ok(Self::Tcp(listen(&authority).await?)),
            Address::Unix(path) => Ok(Self::Unix(UnixAcceptor::bind(path).await?)),
            #[cfg(feature = "tls")]
            Address::Tls(authority) => {
                let config = options.tls()?;
                Ok(Self::Tls(listen(&authority).await?, config))
            }
            #[cfg(all(feature = "ws", feature = "tls"))]
            Address::Web(web) if web.secure => {
                let (config, policy) = (options.tls()?, UpgradePolicy::new(&options.origins, web.path));
                Ok(Self::Wss(listen(&web.authority).await?, config, Arc::new(policy)))
            }
            #[cfg(feature = "ws")]
            Address::Web(web) => {
                let policy = UpgradePolicy::new(&options.origins, web.path);
                Ok(Self::Ws(listen(&web.authority).await?, Arc::new(policy)))
            }
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(listener, _) => listener.local_addr().ok(),
            #[cfg(feature = "ws")]
            Self::Ws(listener, _) => listener.local_addr().ok(),
            #[cfg(all(feature = "ws", feature = "tls"))]
            Self::Wss(listener, ..) => listener.local_addr().ok(),
        }
    }

    /// Accepts the next connection.
    ///
    /// This method does not wait for bytes of the client. If the client has to send bytes first, as
    /// in a TLS handshake, the method returns [`Incoming::Opening`] with a future that waits for
    /// them. After an error, the caller continues to accept connections, because the error may
    /// concern only a single connection.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, remote_addr) = ready!(poll_accept(listener, cx))?;
                let (read, write) = stream.into_split();
                let info = ConnectInfo { remote_addr: Some(remote_addr), ..ConnectInfo::over("tcp") };
                Ok(Incoming::Open(over_stream(read, write), info))
            }
            Self::Unix(acceptor) => ready!(acceptor.poll_accept(cx)),
            #[cfg(feature = "tls")]
            Self::Tls(listener, config) => {
                let (stream, remote_addr) = ready!(poll_accept(listener, cx))?;
                let config = Arc::clone(config);
                Ok(Incoming::opening(async move {
                    let (stream, certificates) = tls::accept(stream, config).await?;
                    let info = ConnectInfo { remote_addr: Some(remote_addr), certificates, ..ConnectInfo::over("tls") };
                    Ok((tls::link(stream), info))
                }))
            }
            #[cfg(feature = "ws")]
            Self::Ws(listener, policy) => {
                let (stream, remote_addr) = ready!(poll_accept(listener, cx))?;
                let (read, write) = stream.into_split();
                let info = ConnectInfo { remote_addr: Some(remote_addr), ..ConnectInfo::over("ws") };
                Ok(Incoming::opening(websocket::accept(read, write, Arc::clone(policy), info)))
            }
            #[cfg(all(feature = "ws", feature = "tls"))]
            Self::Wss(listener, config, policy) => {
                let (stream, remote_addr) = ready!(poll_accept(listener, cx))?;
                let (config, policy) = (Arc::clone(config), Arc::clone(policy));
                Ok(Incoming::opening(async move {
                    let (stream, certificates) = tls::accept(stream, config).await?;
                    let info = ConnectInfo { remote_addr: Some(remote_addr), certificates, ..ConnectInfo::over("wss") };
                    let (read, write) = tokio::io::split(stream);
                    websocket::accept(read, write, policy, info).await
                }))
            }
        })
    }
}

async fn listen(authority: &Authority) -> io::Result<TcpListener> {
    TcpListener::bind(authority.pair()).await
}

fn poll_accept(listener: &TcpListener, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    let (stream, remote_addr) = ready!(listener.poll_accept(cx))?;
    // Frames are batched before they are written, so Nagle's algorithm would only delay them. The
    // call fails only if the connection is lost already. The error is ignored, because the first
    // read also reports the loss.
    let _ = stream.set_nodelay(true);
    Poll::Ready(Ok((stream, remote_addr)))
}
