//! The side of a transport that connects.

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

/// Returns the addresses of a server, in the order of the system. A Unix socket has one, without a number.
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

/// Opens a connection to one address of a server, TLS and the upgrade to WebSocket included.
#[allow(unused_variables, reason = "what is built in may need no options")]
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
    if reaches_itself(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // Messages are gathered before they are written; the system must not wait for more.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the system has connected a socket with itself. That can happen on one machine: the port that is connected to may be
/// the very one that the system gives to who connects, if nobody listens there. One who tries again and again comes to that, and
/// would then keep the server from its port.
fn reaches_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(near), Ok(far)) if near == far)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_connected_with_itself_is_told_from_others() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(reaches_itself(&socket.connect(address).await.unwrap()));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(!reaches_itself(&TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()));
    }
}
