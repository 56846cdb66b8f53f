//! The side of a transport that connects.

use std::io;

use tokio::{net::TcpStream, time::timeout};

#[cfg(feature = "tls")]
use super::tls;
#[cfg(feature = "ws")]
use super::websocket;
use super::{Address, Authority, ClientOptions, Link, over_stream, unix};
use crate::{connect_error::ConnectError, limits::Limits};

/// Opens a connection, TLS and the upgrade to WebSocket included, within the time for authentication.
pub(crate) async fn open(address: Address, options: &ClientOptions, limits: &Limits) -> Result<Link, ConnectError> {
    let opened = timeout(limits.authentication, open_at_leisure(address, options)).await;
    opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[allow(unused_variables, reason = "what is built in may need no options")]
async fn open_at_leisure(address: Address, options: &ClientOptions) -> Result<Link, ConnectError> {
    match address {
        Address::Tcp(authority) => {
            let (read, write) = connect(&authority).await?.into_split();
            Ok(over_stream(read, write))
        }
        Address::Unix(path) => Ok(unix::connect(&path).await?),
        #[cfg(feature = "tls")]
        Address::Tls(authority) => {
            let stream = connect(&authority).await?;
            Ok(tls::link(tls::connect(stream, &authority.host, options).await?))
        }
        #[cfg(all(feature = "ws", feature = "tls"))]
        Address::Web(web) if web.secure => {
            let stream = connect(&web.authority).await?;
            let (read, write) = tokio::io::split(tls::connect(stream, &web.authority.host, options).await?);
            websocket::connect(read, write, &web).await
        }
        #[cfg(feature = "ws")]
        Address::Web(web) => {
            let (read, write) = connect(&web.authority).await?.into_split();
            websocket::connect(read, write, &web).await
        }
    }
}

async fn connect(authority: &Authority) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority.pair()).await?;
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
