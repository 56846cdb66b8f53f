//! Opens connections to servers.

use std::{collections::HashSet, io, net::SocketAddr};

use tokio::net::{TcpStream, lookup_host};

#[cfg(feature = "tls")]
use super::tls;
#[cfg(feature = "ws")]
use super::websocket;
use super::{ClientOptions, Link, over_stream, unix};
use crate::{address::Address, connect_error::ConnectError};

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = tls::connect_error(&error) {
            return error;
        }
        Self::Unreachable(error)
    }
}

/// Returns the socket addresses of a server, in the order of the resolver.
///
/// For a Unix socket, returns `None` as the only target.
pub(crate) async fn resolve(address: &Address) -> io::Result<Vec<Option<SocketAddr>>> {
    let authority = match address {
        Address::Unix(_) => return Ok(vec![None]),
        Address::Tcp(authority) => authority,
        #[cfg(feature = "tls")]
        Address::Tls(authority) => authority,
        #[cfg(feature = "ws")]
        Address::Web(web) => &web.authority,
    };
    let mut targets: Vec<_> = lookup_host(authority.pair()).await?.map(Some).collect();
    let mut known = HashSet::new();
    targets.retain(|target| known.insert(*target));
    Ok(targets)
}

/// Opens a connection to an address of a server. Also performs the handshakes of TLS and WebSocket.
#[allow(unused_variables, reason = "without features no transport needs options")]
pub(crate) async fn open_at(
    address: &Address,
    target: Option<SocketAddr>,
    options: &ClientOptions,
) -> Result<Link, ConnectError> {
    match address {
        Address::Tcp(_) => {
            let (read, write) = connect(target).await?.into_split();
            Ok(over_stream(read, write))
        }
        Address::Unix(path) => Ok(unix::connect(path).await?),
        #[cfg(feature = "tls")]
        Address::Tls(authority) => {
            let stream = connect(target).await?;
            Ok(tls::link(tls::connect(stream, &authority.host, options).await?))
        }
        #[cfg(all(feature = "ws", feature = "tls"))]
        Address::Web(web) if web.secure => {
            let stream = connect(target).await?;
            let (read, write) = tokio::io::split(tls::connect(stream, &web.authority.host, options).await?);
            websocket::connect(read, write, web).await
        }
        #[cfg(feature = "ws")]
        Address::Web(web) => {
            let (read, write) = connect(target).await?.into_split();
            websocket::connect(read, write, web).await
        }
    }
}

async fn connect(target: Option<SocketAddr>) -> io::Result<TcpStream> {
    let target = target.ok_or(io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect(target).await?;
    if is_self_connected(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // Frames are batched before they are written, so Nagle's algorithm would only delay them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns `true` if the system has connected the socket with itself.
///
/// The server may be on the same machine and not listen yet. The system may then choose the
/// server's port as the client's local port, and connect the socket with itself. A client that
/// retries meets this case eventually, and would then keep the server from binding its port.
fn is_self_connected(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn self_connected_socket_is_detected() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(is_self_connected(&socket.connect(address).await.unwrap()));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(!is_self_connected(&TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()));
    }
}
