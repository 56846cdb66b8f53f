//! The side of a transport that connects.

use std::io;

use tokio::net::TcpStream;

#[cfg(feature = "tls")]
use super::tls;
#[cfg(feature = "ws")]
use super::websocket;
use super::{Address, Authority, ClientOptions, Link, over_stream, unix};
use crate::{connect_error::ConnectError, limits::Limits};

/// Opens a connection, TLS and the upgrade to WebSocket included. Its caller limits the time.
#[allow(unused_variables, reason = "what is built in may need none of them")]
pub(crate) async fn open(address: Address, options: &ClientOptions, limits: &Limits) -> Result<Link, ConnectError> {
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
    // Messages are gathered before they are written; the system must not wait for more.
    stream.set_nodelay(true)?;
    Ok(stream)
}
